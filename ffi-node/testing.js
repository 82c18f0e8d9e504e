'use strict'
// Assertions on routes for node:test, vitest, or any runner that prints what was expected beside what came.

const { AssertionError } = require('node:assert')
const { isDeepStrictEqual } = require('node:util')
const { load, Model, Router } = require('./index.js')

/** Made of manifests once, then asked as a test asks. */
class Routes {
  #router
  #loadBalancer

  constructor(input, { loadBalancer, ...options } = {}) {
    const isModel = input instanceof Model
    this.#router = new Router(isModel ? input : load(input, options))
    const names = new Set(this.#router.listeners().map((listener) => listener.loadBalancer))
    if (loadBalancer === undefined && names.size !== 1) {
      throw new TypeError(`loadBalancer must be one of ${[...names].join(', ')}`)
    }
    this.#loadBalancer = loadBalancer ?? [...names][0]
  }

  /** The router, for what is not about one request. */
  get router() {
    return this.#router
  }

  /** Decides a request that is given as in a browser: `GET https://shop.example.com/app1?x=1`. */
  decide(line, { headers, peer } = {}) {
    const { router } = this
    const { listener, request, method, url } = this.#parse(line)
    const decision = router.decide(listener, { ...request, headers, peer })
    router.report(decision, 'cancelled')
    return { decision, method, url }
  }

  /** Throws an AssertionError that shows both sides where a request does not go where `expected` says. */
  assert(line, expected, options) {
    const { decision } = this.decide(line, options)
    const actual = {}
    for (const key of Object.keys(expected)) {
      if (!(key in decision)) {
        throw new TypeError(`a decision has no \`${key}\``)
      }
      actual[key] = decision[key]
    }
    const differs = Object.keys(expected).filter((key) => !same(actual[key], expected[key]))
    if (differs.length > 0) {
      const lines = differs.map((key) => `  ${key}: ${show(actual[key])}, expected ${show(expected[key])}`)
      const rule = decision.priority === undefined ? 'no rule' : `rule ${decision.priority}`
      throw new AssertionError({
        message: `${line} (${rule}, ${decision.type})\n${lines.join('\n')}`,
        actual,
        expected,
        operator: 'routesTo',
        stackStartFn: this.assert
      })
    }
    return decision
  }

  #parse(line) {
    const [method, address] = line.includes(' ') ? line.split(' ', 2) : ['GET', line]
    const url = new URL(address)
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
    const listener = this.#router.listener(this.#loadBalancer, port)
    return { method, url, listener, request: { method, target: url.pathname + url.search, host: url.host } }
  }
}

function same(actual, expected) {
  return expected instanceof RegExp ? typeof actual === 'string' && actual.search(expected) >= 0 : isDeepStrictEqual(actual, expected)
}

function show(value) {
  return value instanceof RegExp ? String(value) : JSON.stringify(value) ?? 'undefined'
}

module.exports.Routes = Routes
