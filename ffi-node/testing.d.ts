import type { Decision, LoadOptions, Model, Request, Router, Source } from './index.js'

/** What a decision is held against: every field that is given; text also against a pattern. */
export type Expected = { readonly [K in keyof Decision]?: Decision[K] | RegExp }

/** Assertions on routes, for node:test, vitest, or any runner that shows an AssertionError. */
export class Routes {
  /** `input` is what `load` takes, or a model. `loadBalancer` may be left out where there is one. */
  constructor(
    input: Model | string | Source | readonly (string | Source)[],
    options?: LoadOptions & { loadBalancer?: string }
  )
  /** The router, for what is not about one request. */
  readonly router: Router
  /** Decides a request that is given as in a browser: `GET https://shop.example.com/app1?x=1`. */
  decide(line: string, options?: Pick<Request, 'headers' | 'peer'>): { decision: Decision; method: string; url: URL }
  /** Throws an AssertionError that shows both sides where a request does not go where `expected` says. */
  assert(line: string, expected: Expected, options?: Pick<Request, 'headers' | 'peer'>): Decision
}
