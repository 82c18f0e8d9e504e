import type { Router } from './index.js'

/** The sticky cookies that the load balancer would set, by host. */
export class CookieStore {
  store(host: string, setCookies: readonly string[]): void
  header(host: string): string | undefined
}

/**
 * An interceptor for undici 7: `new Agent().compose(podway(router, { listener }))`. Requests are decided as
 * the load balancer would and sent straight to the target; redirects, fixed responses and errors of the
 * load balancer are answered without a connection. Cookies of the load balancer's own are kept and sent; an
 * application's are the caller's to keep, also where stickiness follows them. Reports how each forward ended. With
 * the router's option `retry`, a second target is tried where there is no connection to the first.
 */
export function podway(
  router: Router,
  options: {
    /** From `router.listener(name, port)`. */
    listener: number
    /** How targets are reached; default `http`. */
    protocol?: 'http' | 'https'
    /** One per client: with two, two sticky sessions. */
    cookies?: CookieStore
  }
  // The type is undici's `DispatcherComposeInterceptor`, spelled so that undici stays optional.
): (dispatch: any) => any
