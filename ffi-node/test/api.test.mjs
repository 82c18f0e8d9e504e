// The package as a user meets it: the demo, errors of the language, wrong use.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { load, Model, PodwayError, Router } from '../index.mjs'

const examples = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'core', 'examples')
const demo = join(examples, 'target-type-ip')

test('the demo routes', () => {
  const router = new Router(load(demo))
  const https = router.listener('target-type-ip', 443)
  const decision = router.decide(https, { target: '/app1/index.html', host: 'shop.example.com' })
  assert.equal(decision.type, 'forward')
  assert.equal(decision.service, 'default/app1-nginx-clusterip-service:80')
  assert.match(decision.address, /^127\.16\.\d+\.\d+:80$/)
  assert.equal(router.targets().reduce((sum, t) => sum + t.inFlight, 0), 1)
  router.report(decision)
  assert.equal(router.targets().reduce((sum, t) => sum + t.inFlight, 0), 0)
  const http = router.listener('target-type-ip', 80)
  const redirect = router.decide(http, { target: '/x?y=1', host: 'shop.example.com' })
  assert.deepEqual([redirect.status, redirect.location], [301, 'https://shop.example.com:443/x?y=1'])
})

test('require gives the same classes', () => {
  const required = createRequire(import.meta.url)('../index.js')
  assert.equal(required.Router, Router)
})

test('probes are handed out and their results count', () => {
  const router = new Router(load(demo), { now: { monoMs: 0, unixS: 1 } })
  const now = { monoMs: 2_000, unixS: 3 }
  const { probes, next } = router.poll({ now })
  assert.equal(probes.length, 5)
  assert.ok(next > 2_000)
  assert.ok(probes.some((p) => p.path === '/app1/index.html'))
  router.reportProbe(probes[0].targetId, 200, { now })
  assert.equal(router.targets().filter((t) => t.state === 'healthy').length, 1)
  assert.ok(router.events().some((e) => e.to === 'healthy'))
})

test('bad manifests are a PodwayError with a place', () => {
  const text = 'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  annotations:\n'
    + '    kubernetes.io/ingress.class: alb\n    alb.ingress.kubernetes.io/scheme: public\nspec: {}\n'
  assert.throws(() => load({ name: 'web.yml', text }), (e) => {
    assert.ok(e instanceof PodwayError)
    assert.deepEqual([e.code, e.file, e.line], ['E_SCHEME', 'web.yml', 7])
    return true
  })
  assert.throws(() => load('no/such/folder'), { code: 'E_READ' })
  assert.throws(() => Model.from('{"a":'), { code: 'E_SYNTAX' })
})

test('wrong use is an error of the language', () => {
  const router = new Router(load(demo))
  const https = router.listener('target-type-ip', 443)
  assert.throws(() => load([]), TypeError)
  assert.throws(() => load(7), TypeError)
  assert.throws(() => router.listener('nobody', 1), { code: 'E_NOT_FOUND' })
  assert.throws(() => router.listener(null, 443), TypeError)
  assert.throws(() => router.decide(https, { target: 7 }), TypeError)
  assert.throws(() => router.decide(https, { target: '/', peer: 'x' }), { code: 'E_ARGUMENT' })
  assert.throws(() => router.decide(https, { target: '/', peer: 7 }), TypeError)
  assert.throws(() => router.decide(https, { target: '/', headers: 7 }), TypeError)
  assert.throws(() => router.decide(https, { target: '/', headers: [['host']] }), TypeError)
  assert.throws(() => router.decide(https, { target: '/', headers: { host: {} } }), TypeError)
  assert.throws(() => router.decide(https, { target: '/', host: 7 }), TypeError)
  assert.throws(() => router.decide(https, undefined), TypeError)
  assert.throws(() => router.decideMany(https, [{ target: 7 }]), TypeError)
  assert.throws(() => Router.join(4711), { code: 'E_NOT_FOUND' })
  assert.throws(() => router.setCookieKeys([new Uint8Array(3)]), { code: 'E_COOKIE_KEY' })
  assert.throws(() => router.report(router.decide(https, { target: '/' }), 'fine'), { code: 'E_ARGUMENT' })
  assert.throws(() => router.decide(https, { target: '/', peer: 'x:1' }), { code: 'E_ARGUMENT' })
  assert.throws(() => router.decide('x', { target: '/' }), TypeError)
  assert.throws(() => router.report({}, 'response'), TypeError)
  assert.throws(() => router.reportProbe('x', 200), { code: 'E_ARGUMENT' })
  assert.throws(() => router.setTargetHealth(router.targets()[0].id, 'great'), { code: 'E_ARGUMENT' })
  assert.throws(() => new Router(load(demo), { cookieKey: new Uint8Array(3) }), { code: 'E_COOKIE_KEY' })
  assert.throws(() => new Router(load(demo), { options: { nonsense: 1 } }), { code: 'E_ARGUMENT' })
  assert.equal(router.decide(9999, { target: '/' }).reason, 'NoListener')
  assert.equal(router.decide(https, { target: '/' + 'a'.repeat(1 << 20) }).type, 'forward', 'huge, and plain')
  assert.equal(router.decide(https, { target: '/%41' + 'a'.repeat(1 << 20) }).reason, 'BadUri')
  assert.equal(router.decide(https, { target: '/\ud800\u0000' }).type, 'forward')
})

test('bytes, sockets and headers as node:http has them', () => {
  const router = new Router(load(demo))
  const https = router.listener('target-type-ip', 443)
  const bytes = router.decide(https, { method: Buffer.from('GET'), target: Buffer.from('/app1/\xff', 'latin1'), host: Buffer.from('x') })
  assert.equal(bytes.priority, '1')
  const socket = { remoteAddress: 'fe80::1%eth0', remotePort: 4000 }
  const request = { target: '/app2/', headers: { Host: 'x.example.com', accept: ['a', 'b'], cookie: undefined }, peer: socket }
  assert.equal(router.decide(https, request, { entropy: 7 }).priority, '2')
  const redirect = router.decide(router.listener('target-type-ip', 80), { target: '/', headers: [['HOST', 'y.example.com']] })
  assert.equal(redirect.location, 'https://y.example.com:443/')
})

test('many at once decide as one by one', () => {
  const router = new Router(load(demo))
  const https = router.listener('target-type-ip', 443)
  const http = router.listener('target-type-ip', 80)
  const requests = ['/app1/', '/app2/x', '/', '/../..', '/app1/\u00fc'].map((target) => ({ target, host: 'x.example.com' }))
  for (const listener of [https, http, 9999]) {
    const plain = ({ type, priority, targetGroup, location, status, reason }) => (
      { type, priority, targetGroup, location, status, reason }
    )
    for (const some of [requests, requests.slice(0, 4), []]) {
      const many = router.decideMany(listener, some)
      assert.deepEqual(many.map(plain), some.map((request) => plain(router.decide(listener, request))))
    }
  }
  const headers = { cookie: 'x=1' }
  assert.equal(router.decideMany(https, [{ target: '/app1/', headers }]).length, 1)
})

test('threads share a router', async () => {
  const { Worker } = await import('node:worker_threads')
  const router = new Router(load(demo))
  const https = router.listener('target-type-ip', 443)
  const code = `
    const { parentPort, workerData } = require('node:worker_threads')
    const { Router } = require(workerData.index)
    const router = Router.join(workerData.token)
    const decision = router.decide(workerData.https, { target: '/app1/', host: 'x' })
    router.reload({ LoadBalancers: [], TargetGroups: [] })
    parentPort.postMessage(decision.targetGroup)`
  const index = join(dirname(fileURLToPath(import.meta.url)), '..', 'index.js')
  const before = router.decide(https, { target: '/app1/', host: 'x' })
  const worker = new Worker(code, { eval: true, workerData: { index, token: router.share(), https } })
  const group = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  assert.equal(group, before.targetGroup)
  assert.equal(router.decide(https, { target: '/app1/', host: 'x' }).reason, 'NoListener', 'the reload holds here too')
})

test('keys rotate and application cookies follow', () => {
  const sticky = (type) => ({
    LoadBalancers: [{ LoadBalancerArn: 'arn:lb', LoadBalancerName: 'web', Listeners: [{
      Port: 80, Protocol: 'HTTP', DefaultActions: [{ Type: 'forward', TargetGroupArn: 'arn:app' }] }] }],
    TargetGroups: [{
      TargetGroupArn: 'arn:app', TargetGroupName: 'app', TargetType: 'ip',
      Attributes: [['stickiness.enabled', 'true'], ['stickiness.type', type], ['stickiness.app_cookie.cookie_name', 'SID']]
        .map(([Key, Value]) => ({ Key, Value })),
      TargetHealthDescriptions: ['10.0.0.1', '10.0.0.2'].map((Id) => ({ Target: { Id, Port: 80 }, TargetHealth: { State: 'healthy' } }))
    }]
  })
  const [old, fresh] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
  const router = new Router(sticky('lb_cookie'), { cookieKey: old })
  const web = router.listener('web', 80)
  const made = router.decide(web, { target: '/' })
  const headers = { Cookie: made.setCookies.map((c) => c.split(';')[0]).join('; ') }
  assert.equal(router.decide(web, { target: '/', headers }).stickiness, 'kept')
  router.setCookieKeys([fresh, old])
  assert.equal(router.decide(web, { target: '/', headers }).target, made.target)
  router.setCookieKeys([fresh])
  assert.equal(router.decide(web, { target: '/', headers }).stickiness, 'unknown-key')
  router.reload(sticky('app_cookie'))
  const first = router.decide(web, { target: '/' })
  assert.ok(router.appCookie(first, {}, ['other']).every((line) => line.includes('_remove_')))
  const [cookie] = router.appCookie(first, {}, ['SID'])
  assert.match(cookie, /^AWSALBAPP-0=/)
  const again = router.decide(web, { target: '/', headers: { cookie: `SID=1; ${cookie.split(';')[0]}` } })
  assert.deepEqual([again.stickiness, again.target], ['kept', first.target])
})

test('explain tells what each condition saw, hop which pod', () => {
  const router = new Router(load(join(examples, 'target-type-instance')))
  const https = router.listener('target-type-instance', 443)
  const why = router.explain(https, { target: Buffer.from('/app2/x'), host: 'x.example.com', headers: { a: 'b' } })
  assert.equal(why.Decision.type, 'forward')
  assert.deepEqual(why.Rules.map((rule) => rule.Matches), [false, true])
  assert.deepEqual(why.Rules[1].Conditions[0].Saw, ['/app2/x'])
  const { id } = router.targets()[0]
  assert.match(router.hop(id, '10.0.0.9').pod, /^app\d-nginx/)
  const ip = new Router(load(demo))
  assert.equal(ip.hop(ip.targets()[0].id, '10.0.0.9'), undefined)
  assert.throws(() => ip.hop(ip.targets()[0].id, 'nonsense'), { code: 'E_ARGUMENT' })
  assert.throws(() => router.explain(https, { target: 7 }), TypeError)
  assert.throws(() => ip.startZonalShift('target-type-ip', 'a'), { code: 'OperationNotPermitted' })
  ip.cancelZonalShift('target-type-ip')
})
