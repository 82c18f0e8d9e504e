import type { HealthEvent, Router } from './index.js'

/** Runs the health checks that a router asks for, over real connections, on timers of this thread. They do
 * not keep the process alive. */
export class HealthChecks {
  /** `onEvents` is told the changes of health as they are found; what it throws is an uncaught exception. */
  constructor(router: Router, options?: { onEvents?: (events: HealthEvent[]) => void })
  /** Stops: no check is begun any more, those under way are broken off. */
  stop(): void
}
