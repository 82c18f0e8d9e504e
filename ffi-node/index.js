'use strict'
// The package: classes, clock and randomness of JavaScript around the native verbs.

const { randomBytes } = require('node:crypto')
const {
  Decision, EPOCH, FLAGS, GROUP, HIGH, LOW, NO_NAMES, NO_TEXTS, NONE, NUMBERS, TEXTS, textsOf
} = require('./decision.js')
const { flat, items, peerText, plainText } = require('./request.js')
const native = require('./native.js')

native.startClock(Number(process.hrtime.bigint()) / 1e6)

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

/** What the native half throws as JSON is a PodwayError; anything else is about a type. */
function translated(error) {
  if (!(error instanceof Error) || error instanceof PodwayError) {
    return error
  }
  if (error.message.startsWith('{"podway":')) {
    return new PodwayError(JSON.parse(error.message))
  }
  return error instanceof TypeError || error instanceof SyntaxError || error instanceof RangeError
    ? error
    : new TypeError(error.message, { cause: error })
}

/** Runs `call`, and throws what it throws in our words. */
function told(call) {
  try {
    return call()
  } catch (error) {
    throw translated(error)
  }
}

/** The moment that was given; NaN lets the native half read the clocks. */
function clock(now) {
  if (now === undefined) {
    return [NaN, NaN]
  }
  if (typeof now?.monoMs !== 'number' || typeof now?.unixS !== 'number') {
    throw new TypeError('now is { monoMs, unixS }, both numbers')
  }
  return [now.monoMs, now.unixS]
}

/** Options or settings as JSON with the names of Rust; JSON text is taken as it is. */
function snake(options) {
  return typeof options === 'string' ? options : JSON.stringify(renamed(options ?? {}))
}

// Fields that are maps: their keys are the user's.
const MAPS = new Set(['default_tags', 'target_groups'])

function renamed(value) {
  if (Array.isArray(value)) {
    return value.map(renamed)
  }
  if (typeof value !== 'object' || value === null) {
    return value
  }
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => {
    const name = key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
    return [name, MAPS.has(name) ? inner : renamed(inner)]
  }))
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

  /** What the ELBv2 API would refuse. */
  validate(options) {
    return JSON.parse(told(() => native.validate(this.#json, snake(options))))
  }

  toJSON() {
    return JSON.parse(this.#json)
  }

  toString() {
    return this.#json
  }
}

/** Reads manifests (files, folders, or `{ name, text }`) into a model. */
function load(input, { controller, clusterName, nodes = 3, skipBroken = false } = {}) {
  const all = Array.isArray(input) ? input : [input]
  const paths = all.filter((item) => typeof item === 'string')
  const sources = all.filter((item) => typeof item !== 'string')
  if (all.length === 0 || sources.some((s) => typeof s?.name !== 'string' || typeof s?.text !== 'string')) {
    throw new TypeError('load takes paths, or objects of name and text')
  }
  const texts = sources.map((s) => [s.name, s.text])
  const [json, diagnostics] = told(() => native.load(paths, texts, snake(controller), clusterName, nodes, skipBroken))
  return new Model(json, JSON.parse(diagnostics))
}

/** This moment on the clocks that are taken where none is given. */
function now() {
  const [monoMs, unixS] = native.clock()
  return { monoMs, unixS }
}

const OUTCOMES = ['response', 'connect-failed', 'timed-out', 'closed', 'cancelled']

/** A compiled model with the state of its targets. */
class Router {
  #native
  #functions
  /** Of one decision, written by the native half; in a buffer, so that it does not move. */
  #numbers = new Uint32Array(new ArrayBuffer(NUMBERS * 4))
  #many = new Uint32Array(0)
  #lengths = new Uint32Array(0)
  /** What forwards are called, by the slot of the target, since the last reload. */
  #names = []
  /** Whether decisions look at headers, at which, and at which where the host is among them. */
  #looks
  #reads
  #readsWithHost
  #epoch

  constructor(model, { options, cookieKey = randomBytes(32), now } = {}) {
    if (model instanceof native.NativeRouter) {
      this.#native = model
    } else {
      const [monoMs, unixS] = clock(now)
      const text = Model.from(model).toString()
      this.#native = told(() => new native.NativeRouter(text, snake(options), cookieKey, monoMs, unixS))
    }
    this.#functions = this.#native.functions(this.#numbers)
    this.#refresh()
  }

  /** The router that another thread shares. */
  static join(token) {
    return new Router(told(() => native.NativeRouter.join(token)))
  }

  share() {
    return this.#native.share()
  }

  /** To be called when another epoch shows: a reload, of this thread or of another one. */
  #refresh() {
    this.#epoch = this.#native.epoch()
    this.#names = []
    const names = this.#native.headerNames()
    this.#looks = names.length > 0
    this.#reads = new Map(names.map((name) => [name, name]))
    this.#readsWithHost = new Map([...names, 'host'].map((name) => [name, name]))
  }

  listener(loadBalancer, port) {
    return told(() => this.#native.listener(loadBalancer, port))
  }

  listeners() {
    return camel(JSON.parse(this.#native.listeners()))
  }

  decide(listener, request, options) {
    const { method = 'GET', target, host, headers, peer } = request
    const lines = headers === undefined ? undefined : this.#lines(headers, host)
    const numbers = this.#numbers
    try {
      if (lines === undefined && peer === undefined && options === undefined) {
        this.#functions.decide(listener, method, target, host)
      } else {
        const at = options?.now
        const [monoMs, unixS] = at === undefined ? NO_TIME : clock(at)
        const entropy = options?.entropy === undefined ? undefined : BigInt(options.entropy)
        this.#functions.decide(listener, method, target, host, lines, peerText(peer), monoMs, unixS, entropy)
      }
    } catch (error) {
      throw translated(error)
    }
    if (numbers[EPOCH] !== this.#epoch) {
      return this.#again(listener, request, options)
    }
    return this.#decision(numbers, 0)
  }

  /** Decides once more after a reload by another thread: it may look at other headers now. */
  #again(listener, request, options) {
    const stale = this.#decision(this.#numbers, 0)
    this.report(stale, 'cancelled')
    this.#refresh()
    return this.decide(listener, request, options)
  }

  retry(failed, listener, request, { now, entropy } = {}) {
    if (!(failed instanceof Decision)) {
      throw new TypeError('retry takes the decision that failed')
    }
    const { method = 'GET', target, host, headers, peer } = request
    const lines = headers === undefined ? undefined : this.#lines(headers, host)
    const [monoMs, unixS] = now === undefined ? NO_TIME : clock(now)
    const drawn = entropy === undefined ? undefined : BigInt(entropy)
    try {
      Decision.retry(
        failed, this.#functions.retry, listener, method, target, host, lines, peerText(peer), monoMs, unixS, drawn
      )
    } catch (error) {
      throw translated(error)
    }
    const none = this.#numbers[FLAGS] === NONE
    if (this.#numbers[EPOCH] !== this.#epoch) {
      if (!none) {
        this.report(this.#decision(this.#numbers, 0), 'cancelled')
      }
      this.#refresh()
      return this.retry(failed, listener, request, { now, entropy })
    }
    return none ? undefined : this.#decision(this.#numbers, 0)
  }

  #decision(numbers, at) {
    let names = NO_NAMES
    if ((numbers[at + FLAGS] & 3) === 0) {
      const low = numbers[at + LOW]
      const high = numbers[at + HIGH]
      names = this.#names[low]
      if (names === undefined || names[4] !== high) {
        names = this.#native.names(low, high, numbers[at + GROUP]).map((name) => name ?? undefined)
        names.push(high)
        this.#names[low] = names
      }
    }
    const texts = numbers[at + TEXTS] === 0 ? NO_TEXTS : textsOf(this.#functions.texts())
    return new Decision(numbers, at, names, texts)
  }

  /** The lines that a decision may look at; undefined where it looks at none. */
  #lines(headers, host) {
    const reads = host === undefined ? this.#readsWithHost : this.#reads
    if (host !== undefined && !this.#looks && typeof headers === 'object') {
      return undefined
    }
    return flat(headers, reads)
  }

  decideMany(listener, requests) {
    const count = requests.length
    if (this.#lengths.length < count * 3) {
      this.#lengths = new Uint32Array(count * 3)
      this.#many = new Uint32Array(1 + count * NUMBERS)
    }
    const simple = count > 0 && this.#pack(requests)
    const decisions = new Array(count)
    if (simple === false) {
      for (let i = 0; i < count; i++) {
        decisions[i] = this.decide(listener, requests[i])
      }
      return decisions
    }
    const numbers = this.#many
    const lengths = this.#lengths.length === count * 3 ? this.#lengths : this.#lengths.subarray(0, count * 3)
    for (let first = 0; first < count;) {
      try {
        this.#functions.decideMany(numbers, listener, simple, lengths, first)
      } catch (error) {
        throw translated(error)
      }
      const stopped = numbers[0]
      if (stopped === NOTHING) {
        for (let i = first; i < count; i++) {
          decisions[i] = this.decide(listener, requests[i])
        }
        return decisions
      }
      if (numbers[1 + first * NUMBERS + EPOCH] !== this.#epoch) {
        this.#refresh()
      }
      for (; first < stopped; first++) {
        decisions[first] = this.#decision(numbers, 1 + first * NUMBERS)
      }
    }
    return decisions
  }

  /** All text of plain requests in one string; false where a request is not plain. */
  #pack(requests) {
    const lengths = this.#lengths
    const looks = this.#looks
    let text = ''
    let at = 0
    for (let i = 0; i < requests.length; i++) {
      const { method, target, host, headers, peer } = requests[i]
      if (typeof target !== 'string' || peer !== undefined || (headers !== undefined && (host === undefined || looks))) {
        return false
      }
      if (method === undefined || method === 'GET') {
        lengths[at] = NOTHING
      } else if (typeof method === 'string') {
        lengths[at] = method.length
        text += method
      } else {
        return false
      }
      lengths[at + 1] = target.length
      text += target
      if (typeof host === 'string') {
        lengths[at + 2] = host.length
        text += host
      } else if (host === undefined) {
        lengths[at + 2] = NOTHING
      } else {
        return false
      }
      at += 3
    }
    return text
  }

  report(decision, outcome = 'response', options) {
    const number = OUTCOMES.indexOf(outcome)
    if (!(decision instanceof Decision)) {
      throw new TypeError('report takes a decision')
    }
    try {
      if (options === undefined) {
        Decision.report(decision, this.#functions.report, number, 200)
        return
      }
      const { status = 200, now } = options
      if (now === undefined) {
        Decision.report(decision, this.#functions.report, number, status)
      } else {
        Decision.reportAt(decision, this.#functions.report, number, status, ...clock(now))
      }
    } catch (error) {
      throw translated(error)
    }
  }

  appCookie(decision, headers, names, { now, entropy } = {}) {
    if (!(decision instanceof Decision)) {
      throw new TypeError('appCookie takes a decision')
    }
    const [monoMs, unixS] = clock(now)
    return told(() => {
      const drawn = entropy === undefined ? undefined : BigInt(entropy)
      const lines = flat(headers, APP_COOKIE_READS)
      Decision.appCookie(decision, this.#functions.appCookie, lines, items(names), monoMs, unixS, drawn)
      return this.#functions.texts().slice(5)
    })
  }

  authentication(listener, decision) {
    if (!(decision instanceof Decision)) {
      throw new TypeError('authentication takes a decision')
    }
    if (decision.authenticate === undefined) {
      return undefined
    }
    const text = told(() => Decision.authentication(decision, this.#native, listener))
    return text === null ? undefined : JSON.parse(text)
  }

  explain(listener, request, { now, entropy } = {}) {
    const { method = 'GET', target, host, headers = {}, peer = '127.0.0.1:0' } = request
    const lines = flat(headers, undefined).map(plainText)
    const [monoMs, unixS] = clock(now)
    const drawn = entropy === undefined ? undefined : BigInt(entropy)
    return JSON.parse(told(() => this.#native.explain(
      listener, plainText(method), plainText(target), plainText(host), lines, peerText(peer), monoMs, unixS, drawn
    )))
  }

  whyUnsticky(listener, request, { history = [], now } = {}) {
    const { method = 'GET', target, host, headers = {}, peer = '127.0.0.1:0' } = request
    const lines = flat(headers, undefined).map(plainText)
    const [monoMs, unixS] = clock(now)
    return camel(JSON.parse(told(() => this.#native.whyUnsticky(
      listener, plainText(method), plainText(target), plainText(host), lines, peerText(peer), items(history), monoMs, unixS
    ))))
  }

  startZonalShift(loadBalancer, zone, { now } = {}) {
    const [monoMs, unixS] = clock(now)
    told(() => this.#native.startZonalShift(loadBalancer, zone, monoMs, unixS))
  }

  cancelZonalShift(loadBalancer, { now } = {}) {
    const [monoMs, unixS] = clock(now)
    told(() => this.#native.cancelZonalShift(loadBalancer, monoMs, unixS))
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
    this.#refresh()
  }

  setCookieKeys(keys) {
    told(() => this.#native.setCookieKeys(items(keys)))
  }

  findTarget(targetGroup, target) {
    return told(() => this.#native.findTarget(targetGroup, target))
  }

  setTargetHealth(targetId, state, { now } = {}) {
    const [monoMs, unixS] = clock(now)
    told(() => this.#native.setTargetHealth(targetId, state, monoMs, unixS))
  }

  lateReports() {
    return this.#native.lateReports()
  }

  hop(targetId, client = '127.0.0.1', { now, entropy } = {}) {
    const [monoMs, unixS] = clock(now)
    const drawn = BigInt(entropy ?? Math.floor(Math.random() * 2 ** 52))
    const hop = told(() => this.#native.hop(targetId, client, monoMs, unixS, drawn))
    return typeof hop === 'string' ? camel([JSON.parse(hop)])[0] : undefined
  }

  headerNames() {
    return this.#native.headerNames()
  }

  targetGroups() {
    return camel(JSON.parse(this.#native.targetGroups()))
  }

  zoneHealth(targetGroup) {
    return camel(JSON.parse(told(() => this.#native.zoneHealth(targetGroup))))
  }

  targets() {
    return camel(JSON.parse(this.#native.targets()))
  }

  events() {
    return camel(JSON.parse(this.#native.events()))
  }
}

/** In the place of a length: what is left out; in that of a count: the text is not plain. */
const NOTHING = 2 ** 32 - 1
const NO_TIME = [undefined, undefined]

// What the AWSALBAPP cookies depend on.
const APP_COOKIE_READS = new Map(['cookie', 'origin', 'user-agent'].map((name) => [name, name]))

module.exports.Decision = Decision
module.exports.Model = Model
module.exports.Router = Router
module.exports.PodwayError = PodwayError
module.exports.load = load
module.exports.now = now
