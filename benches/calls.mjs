// What a decision costs from Node, beside what a user would pick instead, in one run.
//
//   PODWAY_FEATURES=bench node ffi-node/build.js
//   npm install --prefix target/bench-node find-my-way
//   node benches/calls.mjs target/bench-node
//
// Rows are nanoseconds a call: median and 10th to 90th percentile of 41 samples by the process's CPU time, taken
// in turn. Read the ratios, which are of samples of the same round; the machine's noise is in every figure.

import { createRequire } from 'node:module'
import { resolve } from 'node:path'

import native from '../ffi-node/native.js'
import { Router } from '../ffi-node/index.mjs'

const require = createRequire(resolve(process.argv[2] ?? '.', 'x.js'))
const FindMyWay = require('find-my-way')
let sink = 0

/** Measures calls in turn, 41 times; gives back how one compares with another: the median of the rounds' ratios. */
function bench(cases) {
  const cpu = () => {
    const { user, system } = process.cpuUsage()
    return (user + system) * 1e3
  }
  const run = (call, n) => {
    const began = cpu()
    for (let i = 0; i < n; i++) sink += call(i) | 0
    return cpu() - began
  }
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1]
  const kinds = Object.values(cases).map(([name, call, per = 1]) => {
    let n = 64
    while (run(call, n) < 10e6) n *= 2
    return { name, call, n, per, samples: [] }
  })
  for (let round = 0; round < 41; round++) {
    for (const kind of kinds) kind.samples.push(run(kind.call, kind.n) / kind.n / kind.per)
  }
  for (const { name, samples } of kinds) {
    const sorted = [...samples].sort((a, b) => a - b)
    console.log(`| ${name} | ${sorted[20].toFixed(0)} | ${sorted[4].toFixed(0)}-${sorted[36].toFixed(0)} |`)
  }
  const of = (key) => kinds[Object.keys(cases).indexOf(key)].samples
  return (key, beside) => median(of(key).map((ns, round) => ns / of(beside)[round])).toFixed(2)
}

function model(hosts, paths) {
  const rules = []
  for (let h = 0; h < hosts; h++) {
    for (let p = 0; p < paths; p++) {
      rules.push({
        Priority: String(rules.length + 1),
        Conditions: [
          { Field: 'host-header', HostHeaderConfig: { Values: [`svc${h}.example.com`] } },
          { Field: 'path-pattern', PathPatternConfig: { Values: [`/api${p}`, `/api${p}/*`] } }
        ],
        Actions: [{ Type: 'forward', TargetGroupArn: `arn:g${(h + p) % 10}` }]
      })
    }
  }
  const groups = Array.from({ length: 10 }, (_, g) => ({
    TargetGroupArn: `arn:g${g}`, TargetGroupName: `g${g}`, TargetType: 'ip',
    TargetHealthDescriptions: Array.from({ length: 4 }, (_, t) => (
      { Target: { Id: `10.0.${g}.${t}`, Port: 80 }, TargetHealth: { State: 'healthy' } }
    ))
  }))
  const listener = { Port: 80, Protocol: 'HTTP', Rules: rules, DefaultActions: [{ Type: 'forward', TargetGroupArn: 'arn:g0' }] }
  return { LoadBalancers: [{ LoadBalancerArn: 'arn:lb', LoadBalancerName: 'lb', Listeners: [listener] }], TargetGroups: groups }
}

console.log(`| call (Node ${process.versions.node}) | ns | p10-p90 |\n|---|---|---|`)
const verdicts = []
// No more than 31 hosts may share a path in find-my-way, so 10,000 routes are 10 hosts of 1,000 paths.
for (const [hosts, paths] of [[10, 10], [10, 1000]]) {
  const size = hosts * paths
  const routes = FindMyWay({ ignoreTrailingSlash: false })
  const asked = []
  for (let h = 0; h < hosts; h++) {
    for (let p = 0; p < paths; p++) {
      routes.on('GET', `/api${p}/*`, { constraints: { host: `svc${h}.example.com` } }, () => p)
      asked.push({ method: 'GET', target: `/api${p}/users/42`, host: `svc${h}.example.com` })
    }
  }
  let seed = 7
  for (let i = asked.length - 1; i > 0; i--) {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff
    const k = seed % (i + 1)
    ;[asked[i], asked[k]] = [asked[k], asked[i]]
  }
  const constraints = asked.map(({ host }) => ({ host }))
  const router = new Router(model(hosts, paths))
  const listener = router.listener('lb', 80)
  const headers = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`x-header-${i}`, 'some value']))
  const withHeaders = asked.map((request) => ({ ...request, headers }))
  const batches = Array.from({ length: Math.max(1, size / 100) }, (_, b) => asked.slice(b * 100, b * 100 + 100))
  const ratio = bench({
    nothing: ['napi-rs call that does nothing, the same arguments', (i) => {
      const { method, target, host } = asked[i % size]
      native.nothing(listener, method, target, host)
      return 1
    }],
    decide: [`podway decide, ${size} rules`, (i) => router.decide(listener, asked[i % size]).failOpen ? 0 : 1],
    headers: [
      `podway decide with 8 headers, ${size} rules`,
      (i) => router.decide(listener, withHeaders[i % size]).failOpen ? 0 : 1
    ],
    report: [`podway decide, report, ${size} rules`, (i) => router.report(router.decide(listener, asked[i % size])) ?? 1],
    many: [
      `podway decideMany of 100, a request, ${size} rules`,
      (i) => router.decideMany(listener, batches[i % batches.length]).length,
      100
    ],
    find: [`find-my-way ${require('find-my-way/package.json').version} find, ${size} routes`, (i) => {
      return routes.find('GET', asked[i % size].target, constraints[i % size]) === null ? 0 : 1
    }]
  })
  verdicts.push(
    `${size} rules: decide is ${ratio('decide', 'nothing')}x the call that does nothing; find-my-way is `
    + `${ratio('find', 'decide')}x decide and ${ratio('find', 'many')}x a request of decideMany`
  )
}
console.log(verdicts.join('\n'))
if (sink === 42) console.log(sink)
