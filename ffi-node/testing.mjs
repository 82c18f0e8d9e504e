import testing from './testing.js'

export const { Routes } = testing
