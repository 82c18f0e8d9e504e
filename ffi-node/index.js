'use strict'
// The package: classes, clock and randomness of JavaScript around the native verbs.

const { randomBytes } = require('node:crypto')
const {
  Decision, EPOCH, FLAGS, GROUP, HIGH, LOW, NO_NAMES, NO_TEXTS, NONE, NUMBERS, TEXTS, textsOf
} = require('./decision.js')
const { PodwayError, refused, told, translated } = require('./errors.js')
const { NO_TIME, NOBODY, bytes, camel, clock, flat, items, peerText, secret, snake, whole } = require('./request.js')
const native = require('./native.js')

native.startClock(Number(process.hrtime.bigint()) / 1e6)

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
    if (text === undefined) {
      throw new TypeError('a model is JSON text, an object of that shape, or a Model')
    }
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
  whole(nodes, 2 ** 32 - 1, 'nodes')
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
const CANCELLED = OUTCOMES.indexOf('cancelled')
const EMPTY = new Uint32Array(0)

/** A compiled model with the state of its targets. */
class Router {
  #native
  #functions
  /** Of one decision, written by the native half; in a buffer, so that it does not move. */
  #numbers = new Uint32Array(new ArrayBuffer(NUMBERS * 4))
  #many = EMPTY
  #lengths = EMPTY
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
      this.#native = told(() => new native.NativeRouter(text, snake(options), secret(cookieKey), monoMs, unixS))
    }
    this.#functions = this.#native.functions(this.#numbers)
    this.#refresh()
  }

  /** The router that another thread shares. */
  static join(token) {
    whole(token, 2 ** 32 - 1, 'a token')
    return new Router(told(() => native.NativeRouter.join(token)))
  }

  share() {
    return this.#native.share()
  }

  /** To be called when another epoch shows: a reload, of this thread or of another one. */
  #refresh() {
    this.#epoch = this.#native.epoch()
    this.#names = []
    if (this.#epoch % 2 === 1) {
      // A reload is under way: decisions may be of the old rules or of the new ones, and get all headers.
      this.#looks = true
      this.#reads = this.#readsWithHost = undefined
      return
    }
    const names = this.#native.headerNames()
    this.#looks = names.length > 0
    this.#reads = new Map(names.map((name) => [name, name]))
    this.#readsWithHost = new Map([...names, 'host'].map((name) => [name, name]))
  }

  listener(loadBalancer, port) {
    whole(port, 65535, 'port')
    return told(() => this.#native.listener(loadBalancer, port))
  }

  listeners() {
    return camel(JSON.parse(this.#native.listeners()))
  }

  decide(listener, request, options) {
    const epoch = this.#epoch
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
    return (numbers[EPOCH] === epoch ? this.#decision(numbers, 0) : undefined) ?? this.#again(listener, request, options)
  }

  /** Decides once more after a reload (by another thread, or by a getter of the request): rules may look at other
   * headers now, and what was chosen may be gone. The request is read once and with all its headers, so that
   * it is decided right by any rules. */
  #again(listener, request, options) {
    const numbers = this.#numbers
    this.#cancel(numbers, 0)
    const { method = 'GET', target, host, headers, peer } = request
    const lines = headers === undefined ? undefined : flat(headers, undefined)
    const from = peerText(peer)
    const [monoMs, unixS] = options?.now === undefined ? NO_TIME : clock(options.now)
    const entropy = options?.entropy === undefined ? undefined : BigInt(options.entropy)
    for (;;) {
      told(() => this.#functions.decide(listener, method, target, host, lines, from, monoMs, unixS, entropy))
      if (numbers[EPOCH] !== this.#epoch) {
        this.#refresh()
      }
      const decision = this.#decision(numbers, 0)
      if (decision !== undefined) {
        return decision
      }
      this.#cancel(numbers, 0)
    }
  }

  /** Settles a decision that nobody gets to see. */
  #cancel(numbers, at) {
    if ((numbers[at + FLAGS] & 3) === 0) {
      this.#functions.report(
        numbers[at + FLAGS], numbers[at + LOW], numbers[at + HIGH], numbers[at + GROUP], CANCELLED, 0
      )
    }
  }

  retry(failed, listener, request, { now, entropy } = {}) {
    if (!(failed instanceof Decision)) {
      throw new TypeError('retry takes the decision that failed')
    }
    const { method = 'GET', target, host, headers, peer } = request
    // With all headers it is right after a reload meanwhile, too.
    const lines = headers === undefined ? undefined : flat(headers, undefined)
    const [monoMs, unixS] = now === undefined ? NO_TIME : clock(now)
    const drawn = entropy === undefined ? undefined : BigInt(entropy)
    try {
      Decision.retry(
        failed, this.#functions.retry, listener, method, target, host, lines, peerText(peer), monoMs, unixS, drawn
      )
    } catch (error) {
      throw translated(error)
    }
    if (this.#numbers[EPOCH] !== this.#epoch) {
      this.#refresh()
    }
    if (this.#numbers[FLAGS] === NONE) {
      return undefined
    }
    const decision = this.#decision(this.#numbers, 0)
    if (decision === undefined) {
      this.#cancel(this.#numbers, 0)
    }
    return decision
  }

  /** A decision as an object; undefined where what was chosen is gone already. */
  #decision(numbers, at) {
    let names = NO_NAMES
    if ((numbers[at + FLAGS] & 3) === 0) {
      const low = numbers[at + LOW]
      const high = numbers[at + HIGH]
      names = this.#names[low]
      if (names === undefined || names[4] !== high) {
        names = this.#native.names(low, high, numbers[at + GROUP]).map((name) => name ?? undefined)
        if (names[0] === undefined || names[2] === undefined || names[3] === undefined) {
          return undefined
        }
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
    if (!Array.isArray(requests)) {
      throw new TypeError('requests are an array')
    }
    const count = requests.length
    const large = this.#lengths.length >= count * 3
    const lengths = large ? this.#lengths : new Uint32Array(count * 3)
    const numbers = large ? this.#many : new Uint32Array(1 + count * NUMBERS)
    // Getters of the requests may decide, too; they get memory of their own.
    this.#lengths = this.#many = EMPTY
    try {
      return this.#allOf(listener, requests, numbers, lengths)
    } finally {
      this.#lengths = lengths
      this.#many = numbers
    }
  }

  #allOf(listener, requests, numbers, lengths) {
    const count = requests.length
    const epoch = this.#epoch
    const decisions = new Array(count)
    const simple = count > 0 && this.#pack(requests, lengths)
    if (simple === false) {
      return this.#oneByOne(listener, requests, decisions, 0)
    }
    const used = lengths.length === count * 3 ? lengths : lengths.subarray(0, count * 3)
    for (let first = 0; first < count;) {
      try {
        this.#functions.decideMany(numbers, listener, simple, used, first)
      } catch (error) {
        throw translated(error)
      }
      const stopped = numbers[0]
      if (stopped === NOTHING) {
        return this.#oneByOne(listener, requests, decisions, first)
      }
      for (; first < stopped; first++) {
        const at = 1 + first * NUMBERS
        const decision = numbers[at + EPOCH] === epoch ? this.#decision(numbers, at) : undefined
        if (decision === undefined) {
          for (let i = first; i < stopped; i++) {
            this.#cancel(numbers, 1 + i * NUMBERS)
          }
          return this.#oneByOne(listener, requests, decisions, first)
        }
        decisions[first] = decision
      }
    }
    return decisions
  }

  /** Decides the requests from `first` on; where one cannot be, nothing is left owing. */
  #oneByOne(listener, requests, decisions, first) {
    let made = first
    try {
      for (; made < requests.length; made++) {
        decisions[made] = this.decide(listener, requests[made])
      }
      return decisions
    } catch (error) {
      for (const decision of decisions.slice(0, made)) {
        this.report(decision, 'cancelled')
      }
      throw error
    }
  }

  /** All text of plain requests in one string; false where a request is not plain. */
  #pack(requests, lengths) {
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
    if (number < 0) {
      throw refused(`there is no outcome \`${String(outcome)}\``)
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
    const { method = 'GET', target, host, headers = {}, peer } = request
    const lines = flat(headers, undefined).map(bytes)
    const [monoMs, unixS] = clock(now)
    const drawn = entropy === undefined ? undefined : BigInt(entropy)
    return JSON.parse(told(() => this.#native.explain(
      listener, bytes(method), bytes(target), host === undefined ? undefined : bytes(host), lines,
      peerText(peer) ?? NOBODY, monoMs, unixS, drawn
    )))
  }

  whyUnsticky(listener, request, { history = [], now } = {}) {
    const { method = 'GET', target, host, headers = {}, peer } = request
    const lines = flat(headers, undefined).map(bytes)
    const [monoMs, unixS] = clock(now)
    return camel(JSON.parse(told(() => this.#native.whyUnsticky(
      listener, bytes(method), bytes(target), host === undefined ? undefined : bytes(host), lines,
      peerText(peer) ?? NOBODY, items(history), monoMs, unixS
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
    const [name, status] = typeof result === 'number' ? ['status', whole(result, 65535, 'a status')] : [result, 0]
    told(() => this.#native.reportProbe(targetId, name, status, monoMs, unixS))
  }

  reload(model, { now } = {}) {
    const [monoMs, unixS] = clock(now)
    told(() => this.#native.reload(Model.from(model).toString(), monoMs, unixS))
    this.#refresh()
  }

  setCookieKeys(keys) {
    told(() => this.#native.setCookieKeys(items(keys).map(secret)))
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

// What the AWSALBAPP cookies depend on.
const APP_COOKIE_READS = new Map(['cookie', 'origin', 'user-agent'].map((name) => [name, name]))

module.exports.Decision = Decision
module.exports.Model = Model
module.exports.Router = Router
module.exports.PodwayError = PodwayError
module.exports.load = load
module.exports.now = now
