'use strict'
// Health checks for a router: does what `poll` asks for, over real connections, until it is stopped.

const http = require('node:http')
const http2 = require('node:http2')
const https = require('node:https')
const { now } = require('./index.js')

/** Runs the health checks of a router on timers of this thread. */
class HealthChecks {
  #router
  #timer
  #under = new Set()
  #stopped = false
  #onEvents

  constructor(router, { onEvents } = {}) {
    this.#router = router
    this.#onEvents = onEvents
    this.#turn()
  }

  /** Stops: no check is begun any more, those under way end. */
  stop() {
    this.#stopped = true
    clearTimeout(this.#timer)
    for (const abort of this.#under) {
      abort.abort()
    }
  }

  [Symbol.dispose ?? Symbol.for('dispose')]() {
    this.stop()
  }

  #turn() {
    if (this.#stopped) {
      return
    }
    const { probes, next } = this.#router.poll()
    for (const probe of probes) {
      this.#check(probe)
    }
    const wait = next === undefined ? 1000 : Math.min(Math.max(next - now().monoMs, 1), 1000)
    this.#timer = setTimeout(() => this.#turn(), wait)
    this.#timer.unref()
    if (this.#onEvents !== undefined) {
      const events = this.#router.events()
      if (events.length > 0) {
        // Apart: what it throws is an uncaught exception, and does not end the checks.
        queueMicrotask(() => this.#onEvents(events))
      }
    }
  }

  async #check(probe) {
    const abort = new AbortController()
    this.#under.add(abort)
    const timer = setTimeout(() => abort.abort('timed-out'), probe.timeoutMs)
    timer.unref()
    let result
    try {
      result = probe.protocolVersion === 'HTTP1' ? await http1(probe, abort.signal) : await overHttp2(probe, abort.signal)
    } catch {
      result = abort.signal.reason === 'timed-out' ? 'timed-out' : 'failed'
    }
    clearTimeout(timer)
    this.#under.delete(abort)
    if (!this.#stopped) {
      this.#router.reportProbe(probe.targetId, result)
    }
  }
}

const USER_AGENT = 'ELB-HealthChecker/2.0'

/** The host and port of `address:port`. */
function place(address) {
  const at = address.lastIndexOf(':')
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) }
}

function http1(probe, signal) {
  return new Promise((resolve, reject) => {
    // The certificate of a target is never looked at.
    const client = probe.protocol === 'HTTPS' ? https : http
    const request = client.request({
      ...place(probe.address), path: probe.path, signal, agent: false, rejectUnauthorized: false,
      headers: { host: probe.host, 'user-agent': USER_AGENT, connection: 'close' }
    })
    request.on('response', (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end()
  })
}

function overHttp2(probe, signal) {
  return new Promise((resolve, reject) => {
    const grpc = probe.protocolVersion === 'GRPC'
    const session = http2.connect(`${probe.protocol.toLowerCase()}://${probe.address}`, { rejectUnauthorized: false })
    const fail = (error) => {
      session.destroy()
      reject(error)
    }
    session.on('error', fail)
    signal.addEventListener('abort', () => fail(signal.reason), { once: true })
    const headers = { ':method': grpc ? 'POST' : 'GET', ':path': probe.path, ':authority': probe.host, 'user-agent': USER_AGENT }
    const stream = session.request(grpc ? { ...headers, 'content-type': 'application/grpc', te: 'trailers' } : headers)
    let status
    stream.on('error', fail)
    stream.on('response', (answer) => { status = Number(grpc ? answer['grpc-status'] ?? NaN : answer[':status']) })
    stream.on('trailers', (answer) => { if (grpc) status = Number(answer['grpc-status'] ?? NaN) })
    stream.on('close', () => {
      session.close()
      status >= 0 && status <= 65535 && Number.isInteger(status) ? resolve(status) : reject(new Error('no status'))
    })
    stream.resume()
    // An empty message: one byte of flags and four of length.
    stream.end(grpc ? Buffer.alloc(5) : undefined)
  })
}

module.exports.HealthChecks = HealthChecks
