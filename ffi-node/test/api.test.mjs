// The package as a user meets it: the demo, errors of the language, wrong use.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
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
  const folder = mkdtempSync(join(tmpdir(), 'podway-'))
  try {
    writeFileSync(join(folder, 'web.yml'), Buffer.from('metadata: {name: caf\u00e9}\n', 'latin1'))
    assert.throws(() => load(folder), { code: 'E_READ', message: /web\.yml` is not UTF-8 text/ })
  } finally {
    rmSync(folder, { recursive: true })
  }
  assert.throws(() => Model.from('{"a":'), { code: 'E_SYNTAX' })
})

test('settings of the controller', () => {
  const text = 'apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n'
    + 'spec: {ingressClassName: alb, defaultBackend: {service: {name: web, port: {number: 80}}}}\n---\n'
    + 'apiVersion: v1\nkind: Service\nmetadata: {name: web}\n'
    + 'spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}\n---\n'
    + 'apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: alb}\n'
    + 'spec: {controller: ingress.k8s.aws/alb}\n'
  const source = { name: 'web.yml', text }
  const read = (options) => load(source, options).toJSON()
  assert.equal(read().TargetGroups[0].TargetType, 'instance')
  const flags = { defaultTargetType: 'ip', defaultTags: { costCenter: '7' } }
  for (const controller of [flags, '{"default_target_type": "ip", "default_tags": {"costCenter": "7"}}']) {
    const told = read({ controller })
    assert.equal(told.TargetGroups[0].TargetType, 'ip')
    assert.ok(JSON.stringify(told).includes('"costCenter"'), 'the keys of a map are kept')
  }
  const name = read({ clusterName: 'one' }).LoadBalancers[0].LoadBalancerName
  assert.equal(read({ controller: { clusterName: 'one' } }).LoadBalancers[0].LoadBalancerName, name)
  assert.equal(read({ controller: { clusterName: 'two' }, clusterName: 'one' }).LoadBalancers[0].LoadBalancerName, name)
  assert.equal(load(demo, { controller: { clusterName: 'one' } }).toString(), load(demo, { clusterName: 'one' }).toString())
  const few = load(demo, { controller: { quotas: { rulesPerLoadBalancer: 1 } } })
  assert.notDeepEqual(few.diagnostics, load(demo).diagnostics)
  for (const controller of [
    { defaultTargetTyp: 'ip' }, { defaultTargetType: 'lambda' }, { quotas: { rules: 1 } }, { clusterName: '' }, '{', []
  ]) {
    for (const input of [source, demo]) {
      assert.throws(() => load(input, { controller }), (e) => e instanceof PodwayError && e.code === 'E_ARGUMENT')
    }
  }
  assert.throws(() => load(source, { controller: { defaultTargetTyp: 'ip' } }), { file: 'settings', line: 1, message: /default_target_typ/ })
  assert.throws(() => load(source, { controller: 7 }), { code: 'E_ARGUMENT' })
  assert.throws(() => load(source, { clusterName: 7 }), TypeError)
  assert.throws(() => load(source, { nodes: 'three' }), TypeError)
  const anomaly = { windowMs: 1000 }
  assert.equal(new Router(load(demo), { options: { anomaly } }).listeners().length, 2)
  assert.throws(() => new Router(load(demo), { options: { anomaly: { window: 1 } } }), { code: 'E_ARGUMENT' })
})

test('a second target after a failed connection', () => {
  const healthy = (Id) => ({ Target: { Id, Port: 80 }, TargetHealth: { State: 'healthy' } })
  const model = {
    LoadBalancers: [{ LoadBalancerArn: 'arn:lb', LoadBalancerName: 'web', Listeners: [{
      Port: 80, Protocol: 'HTTP', DefaultActions: [{ Type: 'forward', TargetGroupArn: 'arn:app' }] }] }],
    TargetGroups: [{
      TargetGroupArn: 'arn:app', TargetGroupName: 'app', TargetType: 'ip',
      TargetHealthDescriptions: ['10.0.0.1', '10.0.0.2'].map(healthy)
    }]
  }
  const router = new Router(model, { options: { retry: true } })
  const web = router.listener('web', 80)
  const request = { target: '/x', headers: { cookie: 'a=b' } }
  const failed = router.decide(web, request)
  router.report(failed, 'connect-failed')
  const again = router.retry(failed, web, request)
  assert.notEqual(again.target, failed.target)
  router.report(again)
  assert.equal(router.targets().reduce((sum, t) => sum + t.inFlight, 0), 0)
  assert.equal(router.retry(failed, web, { ...request, method: 'POST' }), undefined)
  assert.equal(new Router(model).retry(failed, web, request), undefined)
  assert.throws(() => router.retry({}, web, request), TypeError)
  assert.throws(() => router.retry(failed, web, { target: 7 }), TypeError)
  assert.throws(() => router.retry(failed, 'x', request), TypeError)
  assert.throws(() => router.retry(failed, web), TypeError)
  const [group] = router.targetGroups()
  assert.deepEqual([group.name, group.arn, group.service], ['app', 'arn:app', undefined])
  router.setTargetHealth(router.findTarget('app', '10.0.0.1:80'), 'unhealthy')
  for (const name of ['app', 'arn:app']) {
    const zone = { zone: undefined, registered: 2, healthy: 1, routingHealthy: true, dnsHealthy: true, shifted: false }
    assert.deepEqual(router.zoneHealth(name), [zone])
  }
  assert.deepEqual(router.headerNames(), [])
  const [why] = router.whyUnsticky(web, request, { history: ['AWSALB=x'] })
  assert.deepEqual([why.cookie, why.reason], [undefined, 'off'])
  assert.throws(() => router.zoneHealth('nobody'), { code: 'E_NOT_FOUND' })
  assert.throws(() => router.zoneHealth(7), TypeError)
  assert.throws(() => router.whyUnsticky(web, { target: 7 }), TypeError)
  assert.throws(() => router.whyUnsticky(web, request, { history: [7] }), TypeError)
  assert.throws(() => router.whyUnsticky(web, request, { history: 7 }), TypeError)
  assert.throws(() => router.whyUnsticky(web, { ...request, peer: 'x' }), { code: 'E_ARGUMENT' })
})

test('a model is validated', () => {
  const model = load(demo)
  const codes = (given) => given.validate().map((problem) => problem.Code)
  assert.ok(model.validate().every((problem) => problem.Message.includes('loopback')), 'made-up pods and nothing else')
  assert.ok(!codes(model).includes('DuplicateListener'))
  const twice = model.toJSON()
  twice.LoadBalancers[0].Listeners.push(twice.LoadBalancers[0].Listeners[0])
  assert.ok(codes(Model.from(twice)).includes('DuplicateListener'))
  assert.throws(() => model.validate({ strikt: true }), { code: 'E_ARGUMENT' })
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
  assert.throws(() => router.report(null), TypeError)
  assert.throws(() => router.decide(null, { target: '/' }), TypeError)
  assert.throws(() => router.decide(https, null), TypeError)
  assert.throws(() => router.decide(https, { target: null }), TypeError)
  assert.throws(() => router.decide(https, { target: '/', method: null }), TypeError)
  assert.throws(() => router.decide(https, { target: '/' }, { now: 7 }), TypeError)
  assert.throws(() => router.decide(https, { target: '/' }, { entropy: 'x' }), SyntaxError)
  assert.throws(() => router.decideMany(https, null), TypeError)
  assert.throws(() => router.decideMany(https, [null]), TypeError)
  assert.throws(() => router.appCookie({}, {}, []), TypeError)
  assert.throws(() => router.appCookie(router.decide(https, { target: '/' }), 7, []), TypeError)
  assert.throws(() => router.appCookie(router.decide(https, { target: '/' }), {}, [7]), TypeError)
  assert.throws(() => router.authentication(https, {}), TypeError)
  assert.throws(() => router.reload(null), (e) => e instanceof PodwayError || e instanceof TypeError)
  assert.throws(() => router.reload(undefined), (e) => e instanceof PodwayError || e instanceof TypeError)
  assert.throws(() => new Router(undefined), (e) => e instanceof PodwayError || e instanceof TypeError)
  assert.throws(() => router.setCookieKeys(null), TypeError)
  assert.throws(() => router.setCookieKeys([7]), TypeError)
  assert.throws(() => router.appCookie(router.decide(https, { target: '/' }), {}, 'SID'), TypeError)
  assert.throws(() => router.findTarget('a', null), TypeError)
  assert.throws(() => router.hop(7), TypeError)
  assert.throws(() => router.hop('18446744073709551616'), { code: 'E_ARGUMENT' })
  assert.throws(() => router.poll({ now: 'x' }), TypeError)
  assert.throws(() => router.startZonalShift(null, 'a'), TypeError)
  assert.throws(() => router.cancelZonalShift('nobody'), { code: 'E_NOT_FOUND' })
  assert.throws(() => Model.from('['.repeat(200_000)), PodwayError)
  assert.throws(() => load({ name: 'a.yml', text: '['.repeat(200_000) }), PodwayError)
  assert.throws(() => Router.prototype.decide.call({}, https, { target: '/' }), TypeError, 'not a router')
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
