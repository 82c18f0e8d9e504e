import podway from './index.js'

export const { Decision, load, Model, now, PodwayError, Router } = podway
export default podway
