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
  assert.throws(() => router.decide(https, { target: '/', peer: 'x' }), TypeError)
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
