// Clients and proxies whose targets, callers or rules are not as they should be: nothing is left in flight, and
// targets are blamed for what they did only.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import { createRequire } from 'node:module'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { HealthChecks } from '../health.mjs'
import { Router } from '../index.mjs'
import { podway } from '../undici.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const URL_ = 'http://shop.example.com'

/** A router that remembers how forwards ended. */
class Recording extends Router {
  outcomes = []

  report(decision, outcome, options) {
    this.outcomes.push(outcome)
    super.report(decision, outcome, options)
  }
}

const fixed = {
  Priority: '1', Conditions: [{ Field: 'path-pattern', Values: ['/fixed'] }],
  Actions: [{ Type: 'fixed-response', FixedResponseConfig: { StatusCode: '200', ContentType: 'text/plain', MessageBody: 'n\u00e9' } }]
}
const canary = {
  Priority: '2', Conditions: [{ Field: 'query-string', QueryStringConfig: { Values: [{ Key: 'canary', Value: '1' }] } }],
  Actions: [{ Type: 'fixed-response', FixedResponseConfig: { StatusCode: '299', ContentType: 'text/plain', MessageBody: 'x' } }]
}
const appCookie = [['stickiness.enabled', 'true'], ['stickiness.type', 'app_cookie'], ['stickiness.app_cookie.cookie_name', 'SID']]

function model(port, { rules = [], attributes = [], ...group } = {}) {
  return {
    LoadBalancers: [{ LoadBalancerArn: 'arn:lb', LoadBalancerName: 'web', Listeners: [{
      Port: 80, Protocol: 'HTTP', DefaultActions: [{ Type: 'forward', TargetGroupArn: 'arn:app' }], Rules: rules }] }],
    TargetGroups: [{
      TargetGroupArn: 'arn:app', TargetGroupName: 'app', TargetType: 'ip', HealthCheckIntervalSeconds: 5,
      Attributes: attributes.map(([Key, Value]) => ({ Key, Value })),
      TargetHealthDescriptions: [{ Target: { Id: '127.0.0.1', Port: port }, TargetHealth: { State: 'healthy' } }], ...group
    }]
  }
}

const settled = (router) => router.lateReports() === 0 && router.targets().every((target) => target.inFlight === 0)

/** Polls until `holds`, for half a minute at most. */
async function until(holds) {
  for (let i = 0; i < 600 && !holds(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  assert.ok(holds(), String(holds))
}

/** A target of a few lines; gives back its port. */
async function target(t, serve) {
  const connections = new Set()
  const server = net.createServer((connection) => {
    connections.add(connection)
    connection.on('error', () => {})
    serve(connection)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    connections.forEach((connection) => connection.destroy())
  })
  return server.address().port
}

const echo = (connection) => connection.on('data', (asked) => {
  connection.write(`HTTP/1.1 200 OK\r\nSet-Cookie: SID=1; Path=/\r\nContent-Length: ${asked.length}\r\n\r\n${asked}`)
})
const stalls = (connection) => connection.resume()
const half = (connection) => connection.once('data', () => connection.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc'))
const noHttp = (connection) => connection.once('data', () => connection.end('SSH-2.0-x\r\n\r\n'))

let undici
try {
  undici = createRequire(join(process.env.PODWAY_NODE_MODULES ?? here, 'x.js'))('undici')
} catch {
  undici = undefined
}
const skip = undici === undefined ? 'undici is not installed' : false

async function client(t, serve, options) {
  const router = new Recording(model(typeof serve === 'number' ? serve : await target(t, serve), options))
  const agent = new undici.Agent({ headersTimeout: 1500, bodyTimeout: 1500 })
  t.after(() => agent.destroy())
  const dispatcher = agent.compose(podway(router, { listener: 0 }))
  const request = (path, more) => undici.request(URL_ + path, { dispatcher, ...more }).then(async ({ statusCode, headers, body }) => (
    { status: statusCode, headers, body: await body.text() }
  ))
  return { router, request, dispatcher }
}

test('undici: what fails is reported as what it is', { skip }, async (t) => {
  const aborted = () => AbortSignal.abort(new Error('mine'))
  const soon = () => {
    const abort = new AbortController()
    setTimeout(() => abort.abort(new Error('mine')), 200)
    return abort.signal
  }
  const throwing = () => Readable.from((function * () { yield 'a'; throw new Error('of the body') })())
  for (const [name, serve, more, outcome] of [
    ['stalls', stalls, {}, 'timed-out'],
    ['half', half, {}, 'closed'],
    ['no HTTP', noHttp, {}, 'closed'],
    ['refused', 1, {}, 'connect-failed'],
    ['aborted before', echo, { signal: aborted() }, 'cancelled'],
    ['aborted with a reason', stalls, { signal: soon() }, 'cancelled'],
    ['too late', stalls, { signal: AbortSignal.timeout(200) }, 'cancelled'],
    ['a body that throws', echo, { method: 'POST', body: throwing() }, 'cancelled'],
    ['a body too short', echo, { method: 'POST', body: Readable.from(['abc']), headers: { 'content-length': '9' } }, 'cancelled'],
    ['a header that is none', echo, { headers: { 'x\n': 'y' } }, 'cancelled']
  ]) {
    const { router, request } = await client(t, serve)
    await assert.rejects(request('/x', more), name)
    await until(() => router.outcomes.length > 0)
    assert.deepEqual(router.outcomes, [outcome], name)
    assert.ok(settled(router), name)
  }
})

test('undici: answers of the load balancer, also to those who have gone', { skip }, async (t) => {
  const { router, request } = await client(t, echo, { rules: [fixed, canary] })
  assert.deepEqual((({ status, body }) => [status, body])(await request('/fixed')), [200, 'n\u00e9'])
  const head = await request('/fixed', { method: 'HEAD' })
  assert.deepEqual([head.headers['content-length'], head.body], ['3', ''])
  await assert.rejects(request('/fixed', { signal: AbortSignal.abort(new Error('mine')) }), /mine/)
  assert.equal((await request('/x', { query: { canary: 1 } })).status, 299)
  assert.match((await request('/x', { query: { a: 'b c' } })).body, /^GET \/x\?a=b%20c HTTP/)
  assert.ok(settled(router))
})

test('undici: stickiness follows an application\'s cookie', { skip }, async (t) => {
  const { router, request } = await client(t, echo, { attributes: appCookie })
  assert.doesNotMatch((await request('/')).body, /AWSALBAPP/)
  assert.match((await request('/', { headers: { cookie: 'SID=1' } })).body, /cookie: SID=1; AWSALBAPP-0=/i)
  assert.ok(settled(router))
})

test('a status that makes no sense, and events that nobody can take, do not end health checks', async (t) => {
  const server = http2.createServer()
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '99999999999' }))
    stream.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const program = `
    const { HealthChecks } = require(${JSON.stringify(join(here, '..', 'health.js'))})
    const { Router } = require(${JSON.stringify(join(here, '..', 'index.js'))})
    const thrown = []
    process.on('uncaughtException', (error) => thrown.push(error.message))
    const router = new Router(${JSON.stringify(model(server.address().port, {
      ProtocolVersion: 'GRPC', Matcher: { GrpcCode: '0' }, UnhealthyThresholdCount: 2, HealthCheckTimeoutSeconds: 2
    }))})
    router.setTargetHealth(router.targets()[0].id, 'initial')
    new HealthChecks(router, { onEvents() { throw new Error('nobody') } })
    let left = 600
    const timer = setInterval(() => {
      const { state } = router.targets()[0]
      if (state === 'unhealthy' && thrown.length > 0 || left-- === 0) {
        console.log(JSON.stringify({ state, thrown: [...new Set(thrown)] }))
        process.exit(0)
      }
    }, 50)`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(child.stdout, 'data')
  assert.deepEqual(JSON.parse(line), { state: 'unhealthy', thrown: ['nobody'] })
})

/** Sends `text` and gives back all that comes until the proxy closes. */
async function raw(port, text) {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(text)
  let all = ''
  socket.on('data', (chunk) => { all += chunk })
  await once(socket, 'close')
  return all
}

test('the proxy on node:http outlives odd clients and targets', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'podway-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const started = async (serve) => {
    const file = join(folder, `${Math.random()}.json`)
    writeFileSync(file, JSON.stringify(model(await target(t, serve))))
    const proxy = spawn(process.execPath, [join(here, '..', 'examples', 'proxy.mjs'), file, 'web', '80', '0'], { stdio: ['ignore', 'pipe', 'ignore'] })
    t.after(() => proxy.kill())
    const [line] = await once(proxy.stdout, 'data')
    return Number(/listening on (\d+)/.exec(line)[1])
  }
  const port = await started(echo)
  const old = await raw(port, 'GET /a HTTP/1.0\r\n\r\n')
  assert.match(old, /^HTTP\/1.1 200 OK\r\n/, 'a client without a Host')
  const known = await raw(port, 'GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n')
  assert.match(known, /x-forwarded-for: 192\.0\.2\.1, (::ffff:)?127\.0\.0\.1\r\n/i)
  const cut = await raw(await started(half), 'GET /a HTTP/1.1\r\nHost: x\r\n\r\n')
  assert.match(cut, /^HTTP\/1.1 200 OK\r\n[^]*abc/, 'half an answer ends, and is not made whole')
})
