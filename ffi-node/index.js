'use strict'
// The package: classes, clock and randomness of JavaScript around the native verbs.

const { randomBytes } = require('node:crypto')
const native = require('./podway.node')

/** An error of podway: `code` is stable, `file`, `line` and `column` tell where. */
class PodwayError extends Error {
  constructor(told) {
    super(told.podway)
    this.name = 'PodwayError'
    this.code = told.code
    this.file = told.file ?? undefined
    this.line = told.line ?? undefined
    this.column = told.column ?? undefined
    this.diagnostics = told.diagnostics
  }
}

/** Runs `call`; what the native half throws as JSON becomes a PodwayError. */
function told(call) {
  try {
    return call()
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('{"podway":')) {
      throw new PodwayError(JSON.parse(error.message))
    }
    if (error instanceof Error) {
      throw new TypeError(error.message, { cause: error })
    }
    throw error
  }
}

function clock(now) {
  if (now === undefined) {
    return [performance.now(), Date.now() / 1000]
  }
  if (typeof now?.monoMs !== 'number' || typeof now?.unixS !== 'number') {
    throw new TypeError('now is { monoMs, unixS }, both numbers')
  }
  return [now.monoMs, now.unixS]
}

function snake(options) {
  const entries = Object.entries(options ?? {})
  const name = (key) => key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
  return JSON.stringify(Object.fromEntries(entries.map(([key, value]) => [name(key), value])))
}

function camel(value) {
  const name = (key) => key.replace(/_([a-z])/g, (_, c) => c.toUpperCase())
  return value.map((item) => Object.fromEntries(Object.entries(item).map(([k, v]) => [name(k), v ?? undefined])))
}

/** Load balancers, rules, target groups and targets, in the ELBv2 API's own words. */
class Model {
  #json

  constructor(json, diagnostics = []) {
    this.#json = json
    this.diagnostics = diagnostics
    Object.freeze(this)
  }

  /** Reads a model out of JSON text, or out of an object of that shape. */
  static from(value) {
    if (value instanceof Model) {
      return value
    }
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    return new Model(told(() => native.parseModel(text)))
  }

  toJSON() {
    return JSON.parse(this.#json)
  }

  toString() {
    return this.#json
  }
}

/** Reads manifests (files, folders, or `{ name, text }`) into a model. */
function load(input, { clusterName = 'local', nodes = 3, skipBroken = false } = {}) {
  const all = Array.isArray(input) ? input : [input]
  const paths = all.filter((item) => typeof item === 'string')
  const sources = all.filter((item) => typeof item !== 'string')
  if (all.length === 0 || sources.some((s) => typeof s?.name !== 'string' || typeof s?.text !== 'string')) {
    throw new TypeError('load takes paths, or objects of name and text')
  }
  const texts = sources.map((s) => [s.name, s.text])
  const [json, diagnostics] = told(() => native.load(paths, texts, clusterName, nodes, skipBroken))
  return new Model(json, JSON.parse(diagnostics))
}

const PEER = /^(?:\[(.+)\]|([^:]+)):(\d+)$/

/** A compiled model with the state of its targets. */
class Router {
  #native
  #entropy = randomBytes(8).readBigUInt64LE()

  constructor(model, { options, cookieKey = randomBytes(32), now } = {}) {
    const [monoMs, unixS] = clock(now)
    const text = Model.from(model).toString()
    this.#native = told(() => new native.NativeRouter(text, snake(options), cookieKey, monoMs, unixS))
  }

  listener(loadBalancer, port) {
    return told(() => this.#native.listener(loadBalancer, port))
  }

  listeners() {
    return camel(JSON.parse(this.#native.listeners()))
  }

  decide(listener, request, { now, entropy } = {}) {
    const [monoMs, unixS] = clock(now)
    const { method = 'GET', target, host, headers = [], peer = '127.0.0.1:0' } = request
    const flat = []
    const pairs = Array.isArray(headers) ? headers : Object.entries(headers)
    for (const [name, value] of pairs) {
      for (const line of Array.isArray(value) ? value : [value]) {
        flat.push(name, String(line))
      }
    }
    const parts = PEER.exec(peer)
    if (parts === null) {
      throw new TypeError('peer is `address:port`')
    }
    const drawn = entropy === undefined ? (this.#entropy = BigInt.asUintN(64, this.#entropy + 1n)) : BigInt(entropy)
    return told(() =>
      this.#native.decide(
        listener, method, target, host, flat, parts[1] ?? parts[2], Number(parts[3]), monoMs, unixS, drawn
      )
    )
  }

  report(decision, outcome = 'response', { status = 200, now } = {}) {
    const [monoMs, unixS] = clock(now)
    told(() => this.#native.report(decision.handle, outcome, status, monoMs, unixS))
  }

  poll({ now } = {}) {
    const [monoMs, unixS] = clock(now)
    const [probes, next] = this.#native.poll(monoMs, unixS)
    return { probes, next: next < 0 ? undefined : next }
  }

  reportProbe(targetId, result, { now } = {}) {
    const [monoMs, unixS] = clock(now)
    const [name, status] = typeof result === 'number' ? ['status', result] : [result, 0]
    told(() => this.#native.reportProbe(targetId, name, status, monoMs, unixS))
  }

  reload(model, { now } = {}) {
    const [monoMs, unixS] = clock(now)
    told(() => this.#native.reload(Model.from(model).toString(), monoMs, unixS))
  }

  findTarget(targetGroup, target) {
    return told(() => this.#native.findTarget(targetGroup, target))
  }

  setTargetHealth(targetId, state, { now } = {}) {
    const [monoMs, unixS] = clock(now)
    told(() => this.#native.setTargetHealth(targetId, state, monoMs, unixS))
  }

  targets() {
    return camel(JSON.parse(this.#native.targets()))
  }

  events() {
    return camel(JSON.parse(this.#native.events()))
  }
}

module.exports.Model = Model
module.exports.Router = Router
module.exports.PodwayError = PodwayError
module.exports.load = load
