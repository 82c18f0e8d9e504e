// What nobody should do, and what happens then: an error of JavaScript, and a router that goes on.

import assert from 'node:assert/strict'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

import { load, Model, PodwayError, Router } from '../index.mjs'
import { Routes } from '../testing.mjs'

const here = dirname(fileURLToPath(import.meta.url))
const demo = join(here, '..', '..', 'core', 'examples', 'target-type-ip')

function model(name = 'app', rules = []) {
  return {
    LoadBalancers: [{ LoadBalancerArn: 'arn:lb', LoadBalancerName: 'web', Listeners: [{
      Port: 80, Protocol: 'HTTP', DefaultActions: [{ Type: 'forward', TargetGroupArn: `arn:${name}` }], Rules: rules }] }],
    TargetGroups: [{
      TargetGroupArn: `arn:${name}`, TargetGroupName: name, TargetType: 'ip',
      Attributes: [{ Key: 'deregistration_delay.timeout_seconds', Value: '0' }],
      TargetHealthDescriptions: [1, 2, 3].map((n) => ({ Target: { Id: `10.0.0.${n}`, Port: 80 }, TargetHealth: { State: 'healthy' } }))
    }]
  }
}

/** A rule that answers requests with the header `x-canary: 1`. */
const canary = {
  Priority: '1', Conditions: [{ Field: 'http-header', HttpHeaderConfig: { HttpHeaderName: 'X-Canary', Values: ['1'] } }],
  Actions: [{ Type: 'fixed-response', FixedResponseConfig: { StatusCode: '299', ContentType: 'text/plain', MessageBody: 'x' } }]
}

const inFlight = (router) => router.targets().reduce((sum, target) => sum + target.inFlight, 0)

test('numbers are neither rounded nor wrapped', () => {
  const router = new Router(model())
  const web = router.listener('web', 80)
  for (const wrong of [NaN, -1, 0.5, 2 ** 32, 2 ** 53, Infinity, '0', 0n, null, true]) {
    assert.throws(() => router.decide(wrong, { target: '/' }), TypeError, `listener ${wrong}`)
    assert.throws(() => router.decideMany(wrong, [{ target: '/' }]), TypeError, `listener ${wrong}`)
  }
  const decision = router.decide(web, { target: '/' })
  for (const status of [NaN, -1, 200.5, 2 ** 32 + 200, Infinity, '200', 200n, null]) {
    assert.throws(() => router.report(decision, 'response', { status }), TypeError, `status ${status}`)
  }
  assert.throws(() => router.report(decision, 'response', { status: 70_000 }), { code: 'E_ARGUMENT' })
  assert.throws(() => router.report(decision, 'fine'), { code: 'E_ARGUMENT', message: /there is no outcome `fine`/ })
  assert.throws(() => router.report(decision, Symbol('fine')), PodwayError)
  assert.equal(inFlight(router), 1)
  router.report(decision)
  for (const wrong of [65_536 + 80, -1, 80.5, NaN, Infinity]) {
    assert.throws(() => router.listener('web', wrong), RangeError)
    assert.throws(() => router.reportProbe(router.targets()[0].id, wrong), RangeError)
  }
  for (const wrong of [-1, 1.5, NaN, 2 ** 32]) {
    assert.throws(() => load(demo, { nodes: wrong }), RangeError)
    assert.throws(() => Router.join(wrong), RangeError)
  }
  assert.throws(() => router.listener('web', '80'), TypeError)
  const { id } = router.targets()[0]
  for (const entropy of [-1n, 2n ** 64n, -1, 2 ** 70]) {
    const refused = { code: 'E_ARGUMENT', message: /entropy/ }
    assert.throws(() => router.decide(web, { target: '/' }, { entropy }), refused)
    assert.throws(() => router.explain(web, { target: '/' }, { entropy }), refused)
    assert.throws(() => router.hop(id, '192.0.2.1', { entropy }), refused)
  }
  router.report(router.decide(web, { target: '/' }, { entropy: 2n ** 64n - 1n }))
  assert.equal(inFlight(router), 0)
})

test('moments are finite, and may be as late as numbers go', () => {
  for (const now of [{ monoMs: NaN, unixS: 0 }, { monoMs: -1, unixS: 0 }, { monoMs: Infinity, unixS: 0 }, { monoMs: 0, unixS: NaN }]) {
    assert.throws(() => new Router(model(), { now }), RangeError)
    const router = new Router(model())
    assert.throws(() => router.poll({ now }), RangeError)
    assert.throws(() => router.decide(0, { target: '/' }, { now }), RangeError)
    assert.throws(() => router.reload(model(), { now }), RangeError)
  }
  const router = new Router(model())
  for (const monoMs of [2 ** 53, 1e300]) {
    const now = { monoMs, unixS: monoMs }
    for (let i = 0; i < 3; i++) {
      for (const probe of router.poll({ now }).probes) router.reportProbe(probe.targetId, 200, { now })
    }
    assert.equal(router.decide(0, { target: '/' }, { now }).type, 'forward')
  }
})

test('keys are bytes, and a model is one', () => {
  const router = new Router(model())
  for (const key of [null, 32, 'x'.repeat(32), Array(32).fill(1), new Uint16Array(32)]) {
    assert.throws(() => new Router(model(), { cookieKey: key }), { name: 'TypeError', message: /cookie key/ })
    assert.throws(() => router.setCookieKeys([key]), { name: 'TypeError', message: /cookie key/ })
  }
  assert.throws(() => new Router(), { name: 'TypeError', message: /a model is/ })
  assert.throws(() => new Router(structuredClone(Model.from(model()))), PodwayError)
  assert.deepEqual(structuredClone(router.decide(0, { target: '/' }).toJSON()).type, 'forward')
})

test('a request that decides, reloads or throws while it is read', () => {
  const router = new Router(model())
  const web = router.listener('web', 80)
  const boom = new Error('boom')
  const throwing = (handler) => new Proxy({}, handler)
  assert.throws(() => router.decide(web, throwing({ get() { throw boom } })), boom)
  assert.throws(() => router.decide(web, { target: '/', headers: throwing({ ownKeys() { throw boom } }) }), boom)
  assert.throws(() => router.decideMany(web, [{ target: '/' }, throwing({ get() { throw boom } })]), boom)
  const decides = router.decide(web, {
    get target() {
      router.report(router.decide(web, { target: '/inner' }))
      return '/'
    }
  })
  router.report(decides)
  // The header is of no interest when the request begins to be read, and decides when it has been.
  const headers = { 'x-canary': '1', get host() { router.reload(model('app', [canary])); return 'x' } }
  assert.equal(router.decide(web, { target: '/', headers }).status, 299)
  router.reload(model())
  const reloads = { host: 'x', headers: { 'x-canary': '1' }, get target() { router.reload(model('app', [canary])); return '/' } }
  assert.equal(router.decide(web, reloads).status, 299)
  router.reload(model())
  assert.deepEqual(router.decideMany(web, [{ target: '/', host: 'x', headers }, reloads]).map((d) => d.status), [299, 299])
  router.reload(model())
  assert.equal(inFlight(router), 0)
})

test('a batch that decides while it is read, and one that cannot be decided', () => {
  const router = new Router(model('app', [
    { Priority: '1', Conditions: [{ Field: 'path-pattern', Values: ['/aa'] }], Actions: canary.Actions }
  ]))
  const web = router.listener('web', 80)
  const inner = [{ target: '/b', host: 'hh' }, { target: '/bb', host: 'h' }]
  const statuses = router.decideMany(web, [
    { target: '/aa', host: 'h' },
    { host: 'hh', get target() { router.decideMany(web, inner).forEach((d) => router.report(d)); return '/aa' } }
  ]).map((decision) => decision.status)
  assert.deepEqual(statuses, [299, 299])
  for (const wrong of [{}, new Set([{ target: '/' }]), { length: 1e9 }, 'xx', 7]) {
    assert.throws(() => router.decideMany(web, wrong), TypeError)
  }
  const peer = '192.0.2.1:5'
  assert.throws(() => router.decideMany(web, [{ target: '/', peer }, { target: '/' }, { target: 7 }]), TypeError)
  assert.throws(() => router.decideMany(web, [{ target: '/', peer }, undefined, { target: '/' }]), TypeError)
  assert.equal(inFlight(router), 0, 'what was decided of it is settled')
})

test('headers of fetch, maps and iterators; sockets without an address', () => {
  const router = new Router(load(demo))
  const http = router.listener('target-type-ip', 80)
  const pairs = function * () { yield ['Host', 'y.example.com'] }
  for (const headers of [new Headers({ host: 'y.example.com' }), new Map([['HOST', 'y.example.com']]), pairs()]) {
    assert.equal(router.decide(http, { target: '/', headers }).location, 'https://y.example.com:443/')
  }
  assert.throws(() => router.decide(http, { target: '/', headers: new Set(['host']) }), TypeError)
  assert.throws(() => router.decide(http, { target: '/', headers: 'host' }), TypeError)
  const gone = { remoteAddress: undefined, remotePort: undefined }
  assert.equal(router.explain(http, { target: '/', peer: gone }).Request.SourceIp, '127.0.0.1')
  assert.equal(router.decide(http, { target: '/', peer: gone }).status, 301)
  assert.throws(() => router.decide(http, { target: '/', peer: {} }), TypeError)
})

test('explain takes bytes as they are', () => {
  const matches = (regex) => new Router(model('app', [
    { Priority: '1', Conditions: [{ Field: 'path-pattern', PathPatternConfig: { RegexValues: [regex] } }], Actions: canary.Actions }
  ]))
  const target = Buffer.from('/\xff', 'latin1')
  for (const regex of ['^/.$', '^/...$']) {
    const router = matches(regex)
    const { status } = router.decide(0, { target })
    assert.equal(router.explain(0, { target }).Decision.status, status)
  }
})

test('huge requests are decided', () => {
  const router = new Router(model())
  const host = 'a'.repeat(1e8)
  assert.equal(router.decide(0, { target: '/', host }).type, 'forward')
  assert.equal(router.decide(0, { target: '/', headers: Array.from({ length: 1e6 }, () => ['host', 'b']) }).type, 'forward')
  assert.equal(router.decide(0, { target: `/%41${host}` }).reason, 'BadUri')
})

test('instances without an address are told as everywhere', () => {
  const instance = model()
  Object.assign(instance.TargetGroups[0], {
    TargetType: 'instance',
    TargetHealthDescriptions: [{ Target: { Id: 'i-0123456789abcdef0', Port: 30080 }, TargetHealth: { State: 'healthy' } }]
  })
  const decision = new Router(instance).decide(0, { target: '/' })
  assert.deepEqual([decision.target, decision.address], ['i-0123456789abcdef0:30080', '0.0.0.0:0'])
})

test('reports of another router, and twice', () => {
  const [first, second] = [new Router(model()), new Router(model())]
  const decision = first.decide(0, { target: '/' })
  second.report(decision)
  assert.equal(second.lateReports(), 1)
  first.report(decision)
  first.report(decision)
  assert.equal(first.lateReports(), 1)
})

test('a list is what it is made of, and a pattern has no memory', () => {
  const routes = new Routes(Model.from(model()))
  const type = /for/g
  for (let i = 0; i < 3; i++) routes.assert('http://x/', { setCookies: [], type })
  assert.throws(() => routes.assert('http://x/', { setCookies: ['x'] }), { code: 'ERR_ASSERTION' })
})

test('decisions are right while another thread reloads', async () => {
  const router = new Router(model('one'))
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    const { Router } = require(workerData.index)
    const router = Router.join(workerData.token)
    const until = Date.now() + 1500
    let reloads = 0
    while (Date.now() < until || reloads < 50) {
      router.reload(workerData.models[++reloads % 2])
      router.poll()
    }
    parentPort.postMessage(reloads)`
  const models = [model('one'), model('two', [canary])]
  const workerData = { index: join(here, '..', 'index.js'), token: router.share(), models }
  const worker = new Worker(code, { eval: true, workerData })
  let reloads
  worker.once('message', (count) => { reloads = count }).once('error', (error) => { reloads = error })
  const request = { target: '/', host: 'x', headers: { accept: 'a', 'x-canary': '1' } }
  let [ones, twos] = [0, 0]
  while (reloads === undefined) {
    const all = [router.decide(0, request), ...router.decideMany(0, [request, request])]
    for (const decision of all) {
      // By the old rules every request goes to `one`; by the new ones this one gets an answer.
      if (decision.type === 'forward') {
        assert.deepEqual([decision.targetGroup, decision.address?.slice(0, 7)], ['one', '10.0.0.'])
        router.report(decision)
        ones++
      } else {
        assert.equal(decision.status, 299)
        twos++
      }
    }
    await new Promise(setImmediate)
  }
  assert.ok(reloads > 2, String(reloads))
  assert.ok(ones > 0 && twos > 0)
})
