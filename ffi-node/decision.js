'use strict'
// Where a request goes, as the native half tells it: a handful of numbers that are read when they are asked for.

const native = require('./native.js')

const TYPES = ['forward', 'redirect', 'fixed-response', 'error']
const NO_COOKIES = Object.freeze([])
const NO_TEXTS = []
const NO_NAMES = []

// The places of a decision's numbers in an array, and how many there are.
const FLAGS = 0, RULE = 1, LOW = 2, HIGH = 3, GROUP = 4, TEXTS = 5, EPOCH = 6, NUMBERS = 7
// In FLAGS: the type takes two bits, then two whether a rule matched or the default, one for fail-open, and six
// each for the words of reason, stickiness and authentication. LOW is the status of what is no forward.
const REASON = 5, STICKINESS = 11, AUTHENTICATE = 17, WORD = 63
/** FLAGS where there is no decision at all. */
const NONE = 2 ** 31

/** The words behind numbers; the first stands for none. */
let words = []

function word(number) {
  if (number >= words.length) {
    words = native.words()
  }
  return number === 0 ? undefined : words[number]
}

/** Where a request goes. Immutable. */
class Decision {
  #flags
  #rule
  #low
  #high
  #group
  #names
  #texts

  constructor(numbers, at, names, texts) {
    this.#flags = numbers[at]
    this.#rule = numbers[at + RULE]
    this.#low = numbers[at + LOW]
    this.#high = numbers[at + HIGH]
    this.#group = numbers[at + GROUP]
    this.#names = names
    this.#texts = texts
  }

  get type() {
    return TYPES[this.#flags & 3]
  }

  get priority() {
    const matched = this.#flags >> 2 & 3
    return matched === 1 ? String(this.#rule) : matched === 2 ? 'default' : undefined
  }

  get status() {
    return (this.#flags & 3) === 0 ? undefined : this.#low
  }

  get reason() {
    return word(this.#flags >> REASON & WORD)
  }

  get failOpen() {
    return (this.#flags & 3) === 0 ? (this.#flags & 16) !== 0 : undefined
  }

  get stickiness() {
    return word(this.#flags >> STICKINESS & WORD)
  }

  get authenticate() {
    return word(this.#flags >> AUTHENTICATE & WORD)
  }

  get targetGroup() {
    return this.#names[0]
  }

  get service() {
    return this.#names[1]
  }

  get target() {
    return this.#names[2]
  }

  get address() {
    return this.#names[3]
  }

  get location() {
    return this.#texts[0]
  }

  get body() {
    return this.#texts[1]
  }

  get contentType() {
    return this.#texts[2]
  }

  get uri() {
    return this.#texts[3]
  }

  get host() {
    return this.#texts[4]
  }

  get setCookies() {
    return this.#texts[5] ?? NO_COOKIES
  }

  /** The fields that belong to the decision's type. */
  toJSON() {
    const fields = FIELDS.map((name) => [name, this[name]])
    return Object.fromEntries(fields.filter(([, value]) => value !== undefined && value !== NO_COOKIES))
  }

  [Symbol.for('nodejs.util.inspect.custom')](_, options, inspect) {
    return `Decision ${inspect(this.toJSON(), options)}`
  }

  // The native verbs take a decision as its numbers.
  static report(decision, report, outcome, status) {
    report(decision.#flags, decision.#low, decision.#high, decision.#group, outcome, status)
  }

  static reportAt(decision, report, outcome, status, monoMs, unixS) {
    report(decision.#flags, decision.#low, decision.#high, decision.#group, outcome, status, monoMs, unixS)
  }

  static retry(decision, retry, ...asked) {
    retry(...asked, decision.#flags, decision.#low, decision.#high, decision.#group)
  }

  static appCookie(decision, appCookie, ...rest) {
    appCookie(decision.#flags, decision.#low, decision.#high, decision.#group, ...rest)
  }

  static authentication(decision, router, listener) {
    return router.authentication(listener, decision.#flags >> 2 & 3, decision.#rule)
  }
}

const FIELDS = [
  'type', 'priority', 'status', 'reason', 'authenticate', 'targetGroup', 'service', 'target', 'address', 'failOpen',
  'stickiness', 'location', 'body', 'contentType', 'uri', 'host', 'setCookies'
]

/** What `texts()` of the native half gives, as a Decision keeps it. */
function textsOf(all) {
  const texts = all.slice(0, 5)
  texts.push(all.length > 5 ? Object.freeze(all.slice(5)) : NO_COOKIES)
  return texts
}

module.exports = { Decision, EPOCH, FLAGS, GROUP, HIGH, LOW, NO_NAMES, NO_TEXTS, NONE, NUMBERS, TEXTS, textsOf }
