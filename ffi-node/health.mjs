import health from './health.js'

export const { HealthChecks } = health
