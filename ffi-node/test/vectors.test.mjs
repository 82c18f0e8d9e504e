// Every routing vector through the public API: the same files that Rust, C and Python run.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { load, PodwayError, Router } from '../index.mjs'

const vectors = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'tests', 'vectors')
const cookieKey = new Uint8Array(32).fill(7)
const files = readdirSync(join(vectors, 'routing')).filter((f) => f.endsWith('.json')).sort()

// Expectations have the names of the other languages.
const NAMES = {
  target_group: 'targetGroup',
  fail_open: 'failOpen',
  content_type: 'contentType'
}
const KNOWN = new Set([
  'priority', 'type', 'target_group', 'target', 'status', 'reason', 'location', 'body', 'content_type', 'uri', 'host',
  'authenticate', 'fail_open', 'stickiness', 'set_cookies'
])

function camelOptions(options) {
  const name = (key) => key.replace(/_([a-z])/g, (_, c) => c.toUpperCase())
  return Object.fromEntries(Object.entries(options ?? {}).map(([k, v]) => [name(k), v]))
}

function run(c) {
  const model = c.model ?? load(join(vectors, c.manifests)).toJSON()
  let now = { monoMs: 0, unixS: 1_767_225_600 }
  const options = camelOptions(c.options)
  if (c.rejects?.length) {
    assert.throws(
      () => new Router(model, { options: { ...options, strict: true }, cookieKey, now }),
      (e) => e instanceof PodwayError && c.rejects.every((code) => e.diagnostics.some((d) => d.Code === code))
    )
    return
  }
  const router = new Router(model, { options, cookieKey, now })
  const done = []
  for (const [i, step] of c.steps.entries()) {
    const at = `step ${i}`
    done[i] = undefined
    switch (step.do) {
      case 'decide':
        done[i] = settled(decide(router, step, done, now, at))
        break
      case 'app_cookie': {
        const { decision } = done[step.step]
        const headers = withCookies(step.headers, step, done)
        const added = router.appCookie(decision, headers, step.sets, { now, entropy: step.entropy ?? 0 })
        assert.deepEqual(added.map(shown), step.expect, at)
        done[i] = { decision, cookies: added }
        break
      }
      case 'retry':
        done[i] = retry(router, step, done, now, at)
        break
      case 'why_unsticky': {
        const history = (step.history_from ?? []).flatMap((from) => done[from]?.cookies ?? [])
        const listener = router.listener(step.load_balancer, step.port)
        const found = router.whyUnsticky(listener, asked(step, done), { history, now })
        all(found, step.expect, at)
        break
      }
      case 'zone_health':
        all(router.zoneHealth(step.target_group), step.expect, at)
        break
      case 'zonal_shift':
        if (step.zone === undefined) {
          router.cancelZonalShift(step.load_balancer, { now })
        } else {
          router.startZonalShift(step.load_balancer, step.zone, { now })
        }
        break
      case 'health':
        router.setTargetHealth(router.findTarget(step.target_group, step.target), step.state, { now })
        break
      case 'probe': {
        const id = router.findTarget(step.target_group, step.target)
        router.reportProbe(id, step.result, { now })
        if (step.expect) {
          const { state, reason, description } = router.targets().find((t) => t.id === id)
          const expected = { reason: undefined, description: undefined, ...step.expect }
          assert.deepEqual({ state, reason, description }, expected, at)
        }
        break
      }
      case 'advance':
        now = later(now, step.ms)
        router.poll({ now })
        break
      case 'target': {
        const found = router.targets().find((t) => t.targetGroup === step.target_group && t.target === step.target)
        if (step.expect) {
          assert.ok(found, `${at}: the target is gone`)
          assert.deepEqual(fields(found, step.expect), step.expect, at)
        } else {
          assert.equal(found, undefined, at)
        }
        break
      }
      case 'probes': {
        now = later(now, step.ms)
        const { probes } = router.poll({ now })
        const due = probes.map(({ address, host, path }) => ({ address, host, path }))
        assert.deepEqual(due.sort((a, b) => (a.address < b.address ? -1 : 1)), step.expect, at)
        break
      }
      case 'hop': {
        const id = router.findTarget(step.target_group, step.target)
        const counts = {}
        for (let n = 0; n < (step.repeat ?? 1); n++) {
          const hop = router.hop(id, step.client, { now, entropy: BigInt(step.entropy ?? 0) + BigInt(n) })
          assert.deepEqual(fields(hop, step.expect ?? {}), step.expect ?? {}, at)
          counts[hop.pod ?? '-'] = (counts[hop.pod ?? '-'] ?? 0) + 1
        }
        if (step.counts) compare(step, counts, at)
        break
      }
      case 'report':
        router.report(done[step.step].decision, step.outcome, { status: step.status ?? 200, now })
        break
      case 'reload':
        router.reload(step.model, { now })
        break
      default:
        assert.fail(`${at}: unknown step ${step.do}`)
    }
  }
}

function later(now, ms) {
  const monoMs = now.monoMs + ms
  return { monoMs, unixS: now.unixS + Math.floor(monoMs / 1000) - Math.floor(now.monoMs / 1000) }
}

// What is told under the names of the other languages, as far as it is expected.
function fields(told, expect) {
  const name = (key) => key.replace(/_([a-z])/g, (_, c) => c.toUpperCase())
  return Object.fromEntries(Object.keys(expect).map((key) => [key, told[name(key)] ?? null]))
}

// Each of a list, as far as it is expected.
function all(told, expect, at) {
  assert.equal(told.length, expect.length, `${at}: ${JSON.stringify(told)}`)
  expect.forEach((wanted, i) => assert.deepEqual(fields(told[i], wanted), wanted, at))
}

function settled(decision) {
  return { decision, cookies: decision.setCookies }
}

// A cookie by `name=value`, with `*` for a value that is sealed.
function shown(setCookie) {
  const [pair] = setCookie.split(';', 1)
  return pair.endsWith('=_remove_') ? pair : pair.replace(/=.*/, '=*')
}

function withCookies(given, step, done) {
  const headers = [...(given ?? [])]
  if (step.cookies_from) {
    const cookies = step.cookies_from.flatMap((from) => done[from]?.cookies ?? [])
    headers.push(['cookie', cookies.map((cookie) => cookie.split(';')[0]).join('; ')])
  }
  return headers
}

function asked(step, done) {
  return { ...step.request, headers: withCookies(step.request.headers, step, done) }
}

function retry(router, step, done, now, at) {
  const listener = router.listener(step.load_balancer, step.port)
  const { decision: failed } = done[step.failed]
  const decision = router.retry(failed, listener, asked(step, done), { now, entropy: BigInt(step.entropy ?? 0) })
  if (step.expect === undefined) {
    assert.equal(decision, undefined, at)
    return undefined
  }
  assert.ok(decision, `${at}: there is no other target`)
  agrees(decision, step.expect, at)
  return settled(decision)
}

function agrees(decision, expect, at) {
  for (const [key, expected] of Object.entries(expect ?? {})) {
    assert.ok(KNOWN.has(key), `${at}: unknown expectation ${key}`)
    const actual = key === 'set_cookies' ? decision.setCookies.length : decision[NAMES[key] ?? key]
    assert.equal(actual ?? null, expected, `${at}: ${key}`)
  }
}

function compare(step, counts, at) {
  for (const name of new Set([...Object.keys(step.counts), ...Object.keys(counts)])) {
    const off = Math.abs((step.counts[name] ?? 0) - (counts[name] ?? 0))
    assert.ok(off <= (step.within ?? 0) * step.repeat, `${at}: ${name}: ${JSON.stringify(counts)}`)
  }
}

function decide(router, step, done, now, at) {
  const listener = router.listener(step.load_balancer, step.port)
  const request = asked(step, done)
  const counts = {}
  let last
  for (let i = 0; i < (step.repeat ?? 1); i++) {
    last = router.decide(listener, request, { now, entropy: BigInt(step.entropy ?? 0) + BigInt(i) })
    agrees(last, step.expect, at)
    const target = last.target ?? '-'
    counts[target] = (counts[target] ?? 0) + 1
    const outcome = step.report?.[target] ?? step.report?.['*']
    if (typeof outcome === 'number') {
      router.report(last, 'response', { status: outcome, now })
    } else if (outcome !== undefined) {
      router.report(last, outcome, { now })
    }
  }
  if (step.counts) compare(step, counts, at)
  return last
}

let passed = 0
let count = 0
for (const file of files) {
  const { cases } = JSON.parse(readFileSync(join(vectors, 'routing', file), 'utf8'))
  count += cases.length
  test(`${file}: ${cases.length} vectors`, () => {
    for (const c of cases) {
      try {
        run(c)
      } catch (error) {
        error.message = `${c.id}: ${error.message}`
        throw error
      }
      passed++
    }
  })
}

test('no vector was left out', () => {
  console.log(`vectors node: ${passed} passed, ${count - passed} failed`)
  assert.equal(passed, count)
  assert.ok(count > 200)
})
