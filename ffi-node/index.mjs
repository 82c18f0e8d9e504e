// ECMAScript modules get the same classes: one implementation, two doors.
import podway from './index.js'

export const { Model, Router, PodwayError, load } = podway
