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

module.exports = { bytes, flat, items, peerText, secret, whole }
