'use strict'
// Arguments of JavaScript as the native half takes them.

/** An array of what can be iterated; of a string the characters are never meant. */
function items(list) {
  if (typeof list?.[Symbol.iterator] !== 'function' || typeof list === 'string') {
    throw new TypeError('a list is needed')
  }
  return Array.from(list)
}

/** Text for a call that takes strings only. */
function plainText(value) {
  return value instanceof Uint8Array ? Buffer.from(value).toString() : value
}

/** The lines of `headers` whose names are in `reads` (all, where that is undefined), flat: name, value, name, value. */
function flat(headers, reads) {
  const lines = []
  if (Array.isArray(headers)) {
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
  // A socket has a method of the name `address`.
  const address = peer?.remoteAddress ?? peer?.address
  const port = peer?.remotePort ?? peer?.port
  if (typeof address !== 'string' || typeof port !== 'number') {
    throw new TypeError('peer is `address:port`, { address, port } or a socket')
  }
  const bare = address.split('%', 1)[0]
  return bare.includes(':') ? `[${bare}]:${port}` : `${bare}:${port}`
}

module.exports = { flat, items, peerText, plainText }
