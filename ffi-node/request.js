'use strict'
// Arguments of JavaScript as the native half takes them.

/** An array of what can be iterated; of a string the characters are never meant. */
function items(list) {
  if (typeof list?.[Symbol.iterator] !== 'function' || typeof list === 'string') {
    throw new TypeError('a list is needed')
  }
  return Array.from(list)
}

/** A whole number from 0 to `most`: Node-API would round and wrap others. */
function whole(value, most, what) {
  if (typeof value !== 'number') {
    throw new TypeError(`${what} must be a number`)
  }
  if (!Number.isInteger(value) || value < 0 || value > most) {
    throw new RangeError(`${what} must be a whole number from 0 to ${most}, not ${value}`)
  }
  return value
}

/** The bytes of a cookie key. */
function secret(key) {
  if (!(key instanceof Uint8Array)) {
    throw new TypeError('a cookie key must be a Uint8Array of 32 bytes')
  }
  return key
}

/** Text for a call that takes bytes only. */
function bytes(value) {
  if (typeof value === 'string') {
    return Buffer.from(value)
  }
  if (value instanceof Uint8Array) {
    return value
  }
  throw new TypeError('method, target, host and headers are strings or Uint8Arrays')
}

/** The lines of `headers` whose names are in `reads` (all, where that is undefined), flat: name, value, name, value. */
function flat(headers, reads) {
  const lines = []
  // An array of pairs, or what gives pairs: a Map, a Headers.
  if (Array.isArray(headers) || (typeof headers === 'object' && typeof headers?.[Symbol.iterator] === 'function')) {
    for (const pair of headers) {
      if (!Array.isArray(pair) || pair.length !== 2) {
        throw new TypeError('headers are pairs of name and value, or an object')
      }
      const name = read(pair[0], reads)
      if (name !== undefined) {
        lines.push(name, checked(pair[1]))
      }
    }
  } else if (typeof headers === 'object' && headers !== null) {
    for (const given in headers) {
      const name = read(given, reads)
      if (name === undefined) {
        continue
      }
      const value = headers[given]
      if (Array.isArray(value)) {
        for (const line of value) {
          lines.push(name, checked(line))
        }
      } else if (value !== undefined) {
        lines.push(name, checked(value))
      }
    }
  } else {
    throw new TypeError('headers are pairs of name and value, or an object')
  }
  return lines
}

/** The lower-case name, if it is one of `reads`. Names of another spelling are kept beside them, up to a point. */
function read(given, reads) {
  if (reads === undefined) {
    return given
  }
  const known = reads.get(given)
  if (known !== undefined) {
    return known === '' ? undefined : known
  }
  const lower = reads.get(String(given).toLowerCase()) ?? ''
  if (reads.size < 500) {
    reads.set(given, lower)
  }
  return lower === '' ? undefined : lower
}

function checked(value) {
  if (typeof value === 'string' || value instanceof Uint8Array) {
    return value
  }
  if (typeof value === 'number') {
    return String(value)
  }
  throw new TypeError('a header value is a string or a Uint8Array')
}

/** `address:port`, also of a socket. */
function peerText(peer) {
  if (peer === undefined || typeof peer === 'string') {
    return peer
  }
  // A socket whose client has left, or is on this machine, tells no address.
  if (typeof peer === 'object' && peer !== null && 'remoteAddress' in peer && peer.remoteAddress === undefined) {
    return undefined
  }
  // A socket has a method of the name `address`.
  const address = peer?.remoteAddress ?? peer?.address
  const port = peer?.remotePort ?? peer?.port
  if (typeof address !== 'string' || typeof port !== 'number') {
    throw new TypeError('peer is `address:port`, { address, port } or a socket')
  }
  const bare = address.split('%', 1)[0]
  return bare.includes(':') ? `[${bare}]:${port}` : `${bare}:${port}`
}

/** The moment that was given; NaN lets the native half read the clocks. */
function clock(now) {
  if (now === undefined) {
    return [NaN, NaN]
  }
  const { monoMs, unixS } = now ?? {}
  if (typeof monoMs !== 'number' || typeof unixS !== 'number') {
    throw new TypeError('now is { monoMs, unixS }, both numbers')
  }
  if (!(monoMs >= 0 && unixS >= 0 && Number.isFinite(monoMs + unixS))) {
    throw new RangeError('now is { monoMs, unixS }, both finite and not negative')
  }
  return [monoMs, unixS]
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

/** The client that a request has which is told of none. */
const NOBODY = '127.0.0.1:0'
/** No moment, in calls that have others after it. */
const NO_TIME = [undefined, undefined]

module.exports = { NO_TIME, NOBODY, bytes, camel, clock, flat, items, peerText, secret, snake, whole }
