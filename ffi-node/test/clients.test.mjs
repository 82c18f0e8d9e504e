// What carries requests: the undici interceptor, the proxy of examples/, the health checks, over real sockets.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { HealthChecks } from '../health.mjs'
import { Model, Router } from '../index.mjs'
import { Routes } from '../testing.mjs'
import { podway } from '../undici.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const demo = join(here, '..', '..', 'core', 'examples', 'target-type-ip')
const pods = []

before(async () => {
  for (let i = 0; i < 2; i++) {
    const pod = { well: true, seen: [] }
    pod.server = http.createServer((request, response) => {
      if (request.url === '/health') {
        response.writeHead(pod.well ? 200 : 503).end()
        return
      }
      pod.seen.push([request.url, request.headers])
      response.setHeader('set-cookie', 'app=1')
      response.end(String(pod.port))
    })
    pod.server.listen(0, '127.0.0.1')
    await once(pod.server, 'listening')
    pod.port = pod.server.address().port
    pods.push(pod)
  }
})

after(() => {
  for (const pod of pods) {
    pod.server.close()
    pod.server.closeAllConnections()
  }
})

function model(extra = {}) {
  return {
    LoadBalancers: [{
      LoadBalancerArn: 'arn:lb', LoadBalancerName: 'web', Listeners: [{
        Port: 80, Protocol: 'HTTP', DefaultActions: [{ Type: 'forward', TargetGroupArn: 'arn:app' }],
        Rules: [{
          Priority: '1', Conditions: [{ Field: 'path-pattern', Values: ['/old'] }],
          Actions: [{ Type: 'redirect', RedirectConfig: { Path: '/new', StatusCode: 'HTTP_302' } }]
        }]
      }]
    }],
    TargetGroups: [{
      TargetGroupArn: 'arn:app', TargetGroupName: 'app', TargetType: 'ip', Protocol: 'HTTP',
      HealthCheckPath: '/health', HealthCheckIntervalSeconds: 5, HealthCheckTimeoutSeconds: 2, UnhealthyThresholdCount: 2,
      Attributes: [{ Key: 'stickiness.enabled', Value: 'true' }, { Key: 'stickiness.type', Value: 'lb_cookie' }],
      TargetHealthDescriptions: pods.map((pod) => (
        { Target: { Id: '127.0.0.1', Port: pod.port }, TargetHealth: { State: 'healthy' } }
      )),
      ...extra
    }]
  }
}

const inFlight = (router) => router.targets().reduce((sum, target) => sum + target.inFlight, 0)

test('health checks find what is ill', async () => {
  const router = new Router(model())
  const events = []
  pods[0].well = false
  const checks = new HealthChecks(router, { onEvents: (found) => events.push(...found) })
  for (let i = 0; i < 300 && !events.some((e) => e.to === 'unhealthy'); i++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  checks.stop()
  pods[0].well = true
  assert.deepEqual(events.filter((e) => e.to === 'unhealthy').map((e) => e.target), [`127.0.0.1:${pods[0].port}`])
})

for (const version of ['HTTP2', 'GRPC']) {
  test(`a health check over ${version}`, async () => {
    const server = http2.createServer()
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: version === 'GRPC' })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '12' }))
      stream.end()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const matcher = version === 'GRPC' ? { GrpcCode: '12' } : { HttpCode: '200' }
    const router = new Router(model({
      ProtocolVersion: version, Matcher: matcher,
      TargetHealthDescriptions: [{
        Target: { Id: '127.0.0.1', Port: server.address().port }, TargetHealth: { State: 'initial' }
      }]
    }))
    const checks = new HealthChecks(router)
    for (let i = 0; i < 200 && router.targets()[0].state === 'initial'; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    checks.stop()
    server.close()
    assert.equal(router.targets()[0].state, 'healthy')
  })
}

test('undici sends a client\'s requests straight to the target', async (t) => {
  const require = createRequire(join(process.env.PODWAY_NODE_MODULES ?? here, 'x.js'))
  let undici
  try {
    undici = require('undici')
  } catch {
    t.skip('undici is not installed')
    return
  }
  const router = new Router(model())
  const dispatcher = new undici.Agent().compose(podway(router, { listener: router.listener('web', 80) }))
  const get = (path) => undici.request(`http://shop.example.com${path}`, { dispatcher })
  const first = await get('/a?b=1')
  const body = await first.body.text()
  for (let i = 0; i < 5; i++) {
    assert.equal(await (await get('/')).body.text(), body, 'sticky')
  }
  const seen = pods.find((pod) => String(pod.port) === body).seen[0]
  assert.deepEqual([seen[0], seen[1].host], ['/a?b=1', 'shop.example.com'])
  const moved = await get('/old')
  assert.deepEqual([moved.statusCode, moved.headers.location], [302, 'http://shop.example.com:80/new'])
  await moved.body.dump()
  const dead = new Router(model({
    TargetHealthDescriptions: [{ Target: { Id: '127.0.0.1', Port: 1 }, TargetHealth: { State: 'healthy' } }]
  }))
  const refused = new undici.Agent().compose(podway(dead, { listener: dead.listener('web', 80) }))
  await assert.rejects(undici.request('http://shop.example.com/', { dispatcher: refused }))
  const half = new Router(model({
    TargetHealthDescriptions: [1, pods[0].port].map((Port) => (
      { Target: { Id: '127.0.0.1', Port }, TargetHealth: { State: 'healthy' } }
    ))
  }), { options: { retry: true } })
  for (let i = 0; i < 2; i++) {
    const patient = new undici.Agent().compose(podway(half, { listener: half.listener('web', 80) }))
    for (let n = 0; n < 2; n++) {
      const { body } = await undici.request('http://shop.example.com/', { dispatcher: patient })
      assert.equal(await body.text(), String(pods[0].port), 'the second target')
    }
    await patient.close()
  }
  assert.deepEqual([inFlight(half), half.lateReports()], [0, 0])
  assert.deepEqual([inFlight(router), inFlight(dead), router.lateReports()], [0, 0, 0])
  await dispatcher.close()
})

test('the proxy on node:http', async () => {
  const file = join(here, '..', 'examples', 'proxy.mjs')
  const folder = mkdtempSync(join(tmpdir(), 'podway-'))
  const elbv2 = join(folder, 'model.json')
  writeFileSync(elbv2, JSON.stringify(model()))
  const proxy = spawn(process.execPath, [file, elbv2, 'web', '80', '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [line] = await once(proxy.stdout, 'data')
    const port = Number(/listening on (\d+)/.exec(line)[1])
    const get = async (path, cookie = '') => {
      const request = http.get({ port, path, headers: { host: 'shop.example.com', cookie }, agent: false })
      const [response] = await once(request, 'response')
      let body = ''
      for await (const chunk of response) body += chunk
      return { status: response.statusCode, headers: response.headers, body }
    }
    const first = await get('/x')
    assert.equal(first.status, 200)
    const cookie = first.headers['set-cookie'].map((c) => c.split(';')[0]).join('; ')
    assert.match(cookie, /AWSALB=/)
    for (let i = 0; i < 4; i++) assert.equal((await get('/', cookie)).body, first.body)
    assert.equal((await get('/old')).headers.location, 'http://shop.example.com:80/new')
  } finally {
    proxy.kill()
    rmSync(folder, { recursive: true })
  }
})

test('npx podway is the command', () => {
  const run = (...more) => spawnSync(process.execPath, [join(here, '..', 'podway.js'), ...more], { encoding: 'utf8' })
  const version = run('--version')
  assert.deepEqual([version.status, version.stdout.startsWith('podway ')], [0, true], version.stderr)
  const route = run('route', demo, 'GET', 'https://shop.example.com/app1/', '-o', 'json')
  assert.equal(JSON.parse(route.stdout).Action.Service, 'default/app1-nginx-clusterip-service:80')
  assert.equal(run('plan', 'no/such/folder').status, 2)
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`npx podway serve ends with ${signal}`, { skip: process.platform !== 'linux' && 'pods have addresses on Linux only' }, async (t) => {
    const free = []
    for (let i = 0; i < 2; i++) {
      const server = http.createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      free.push(server.address().port)
      server.close()
    }
    const ports = [`80=${free[0]}`, `443=${free[1]}`].flatMap((port) => ['--map-port', port])
    const serving = spawn(process.execPath, [join(here, '..', 'podway.js'), 'serve', demo, ...ports, '--dns-port', '0'])
    t.after(() => serving.kill('SIGKILL'))
    let told = ''
    const said = new Promise((resolve) => {
      for (const stream of [serving.stdout, serving.stderr]) {
        stream.on('data', (text) => {
          told += text
          if (told.includes('-> healthy')) resolve()
        })
      }
    })
    await said
    serving.kill(signal)
    const [code] = await once(serving, 'close', { signal: AbortSignal.timeout(60_000) })
    assert.equal(code, 0, told)
    assert.match(told, /drained/)
  })
}

test('assertions on routes tell what differs', () => {
  const routes = new Routes(demo)
  routes.assert('GET https://shop.example.com/app1/', { type: 'forward', service: /app1/, priority: '1' })
  routes.assert('http://shop.example.com/', { status: 301 })
  assert.throws(() => routes.assert('GET https://shop.example.com/app1/', { service: 'default/app2:80' }), (error) => {
    assert.equal(error.code, 'ERR_ASSERTION')
    assert.match(error.message, /app1\/ \(rule 1, forward\)\n {2}service: "default\/app1.*", expected "default\/app2:80"/)
    return true
  })
  assert.throws(() => routes.assert('https://x.example.com/', { servise: 'x' }), TypeError)
  assert.equal(new Routes(Model.from(model())).decide('http://x/').decision.type, 'forward')
})
