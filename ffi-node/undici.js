'use strict'
// An interceptor for undici: a client's requests go straight to the target that the load balancer would
// choose, with its stickiness and its health: a client-side load balancer. undici itself is the caller's.

const { stringify } = require('node:querystring')

/**
 * `dispatcher.compose(podway(router, { listener }))`: requests to hosts of the load balancer are decided;
 * forwards go to the target's address, what the load balancer answers by itself is answered here.
 */
function podway(router, { listener, protocol = 'http', cookies = new CookieStore() }) {
  return (dispatch) => (options, handler) => {
    const origin = new URL(options.origin)
    // Rules look at the query too, which undici would append later.
    const query = options.query ? stringify(options.query) : ''
    const target = query === '' ? options.path : `${options.path}?${query}`
    const headers = pairs(options.headers)
    const cookie = cookies.header(origin.host)
    if (cookie !== undefined) {
      const sent = headers.find(([name]) => name.toLowerCase() === 'cookie')
      if (sent === undefined) {
        headers.push(['cookie', cookie])
      } else {
        sent[1] = `${sent[1]}; ${cookie}`
      }
    }
    const host = headers.find(([name]) => name.toLowerCase() === 'host')?.[1] ?? origin.host
    const request = { method: options.method ?? 'GET', target, host, headers }
    const send = (decision, again) => {
      cookies.store(origin.host, decision.setCookies)
      const sent = headers.filter(([name]) => name.toLowerCase() !== 'host')
      sent.push(['host', decision.host ?? host])
      return dispatch(
        {
          ...options,
          query: undefined,
          origin: `${protocol}://${decision.address}`,
          path: decision.uri ?? target,
          headers: sent.flat()
        },
        reporting(handler, {
          report: (outcome, status) => router.report(decision, outcome, { status }),
          // What stickiness of type app_cookie adds.
          met: (names) => cookies.store(origin.host, router.appCookie(decision, headers, names)),
          again
        })
      )
    }
    const decision = router.decide(listener, request)
    if (decision.type !== 'forward') {
      answer(handler, decision, options.method === 'HEAD')
      return true
    }
    return send(decision, () => {
      // A stream is gone with the connection that failed.
      const kept = options.body === undefined || options.body === null || typeof options.body === 'string'
        || ArrayBuffer.isView(options.body)
      const second = kept ? router.retry(decision, listener, request) : undefined
      if (second !== undefined) {
        send(second)
      }
      return second !== undefined
    })
  }
}

/** Codes of errors that a target has no part in: the request is wrong, or the dispatcher is closed. */
const OWN = new Set([
  'UND_ERR_INVALID_ARG', 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH', 'UND_ERR_NOT_SUPPORTED', 'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED', 'UND_ERR_ABORTED'
])

/** The sticky cookies that the load balancer would set, by host. */
class CookieStore {
  #hosts = new Map()

  store(host, setCookies) {
    for (const line of setCookies) {
      const [pair] = line.split(';', 1)
      const at = pair.indexOf('=')
      const known = this.#hosts.get(host) ?? new Map()
      known.set(pair.slice(0, at), pair.slice(at + 1))
      this.#hosts.set(host, known)
    }
  }

  header(host) {
    const known = this.#hosts.get(host)
    return known && Array.from(known, ([name, value]) => `${name}=${value}`).join('; ')
  }
}

function pairs(headers) {
  if (headers === undefined || headers === null) {
    return []
  }
  if (Array.isArray(headers)) {
    if (Array.isArray(headers[0])) {
      return headers.map((pair) => [...pair])
    }
    return Array.from({ length: headers.length / 2 }, (_, i) => [String(headers[2 * i]), String(headers[2 * i + 1])])
  }
  const entries = typeof headers[Symbol.iterator] === 'function' ? Array.from(headers) : Object.entries(headers)
  return entries.flatMap(([name, value]) => [].concat(value ?? []).map((line) => [name, String(line)]))
}

/** A handler that reports once how the forward ended, and passes everything on. `met` is told the names of the
 * cookies that the response sets. `again` is asked after a connection that could not be made, and says whether
 * the request was sent elsewhere. */
function reporting(handler, { report, met, again }) {
  let open = true
  const settle = (outcome, status) => {
    if (open) {
      open = false
      report(outcome, status)
    }
  }
  const failed = (controller, error) => {
    const late = error?.code === 'UND_ERR_HEADERS_TIMEOUT' || error?.code === 'UND_ERR_BODY_TIMEOUT'
    const refused = error?.syscall === 'connect' || error?.code === 'UND_ERR_CONNECT_TIMEOUT'
    // Whoever aborts gives any reason, or none; what a body throws has no code.
    const theirs = error?.code !== undefined || error?.name === 'HTTPParserError'
    const aborted = controller?.aborted || error?.name === 'AbortError' || OWN.has(error?.code) || !theirs
    settle(aborted ? 'cancelled' : late ? 'timed-out' : refused ? 'connect-failed' : 'closed')
    return refused && !aborted && again !== undefined && again()
  }
  let status = 200
  return {
    onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
    onRequestUpgrade: (controller, code, headers, socket) => {
      settle('response', code)
      handler.onRequestUpgrade?.(controller, code, headers, socket)
    },
    onResponseStart: (controller, code, headers, message) => {
      status = code
      const lines = headers?.['set-cookie']
      met([].concat(lines ?? []).map((line) => String(line).split('=', 1)[0].trim()))
      handler.onResponseStart?.(controller, code, headers, message)
    },
    onResponseData: (controller, chunk) => handler.onResponseData?.(controller, chunk),
    onResponseEnd: (controller, trailers) => {
      settle('response', status)
      handler.onResponseEnd?.(controller, trailers)
    },
    onResponseError: (controller, error) => {
      if (!failed(controller, error)) {
        handler.onResponseError?.(controller, error)
      }
    }
  }
}

/** What the load balancer answers by itself, as a response. */
function answer(handler, decision, withoutBody) {
  const controller = {
    aborted: false, paused: false, reason: null, rawHeaders: [], rawTrailers: [],
    abort(reason) { this.aborted = true; this.reason = reason },
    pause() {},
    resume() {}
  }
  const body = Buffer.from(decision.body ?? '')
  const headers = { server: 'awselb/2.0', 'content-length': String(body.length) }
  if (decision.location !== undefined) {
    headers.location = decision.location
  }
  if (decision.contentType !== undefined) {
    headers['content-type'] = decision.contentType
  }
  const steps = [
    () => handler.onRequestStart?.(controller, {}),
    () => handler.onResponseStart?.(controller, decision.status, headers, ''),
    () => withoutBody || body.length === 0 || handler.onResponseData?.(controller, body),
    () => handler.onResponseEnd?.(controller, {})
  ]
  for (const step of steps) {
    step()
    if (controller.aborted) {
      handler.onResponseError?.(controller, controller.reason)
      return
    }
  }
}

module.exports.podway = podway
module.exports.CookieStore = CookieStore
