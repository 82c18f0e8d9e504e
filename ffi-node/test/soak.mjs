// Worker threads that decide and report on one router while others swap models: no crash, nothing left behind.
//
//   node --expose-gc ffi-node/test/soak.mjs [seconds = 600] [threads = 4]
//
// Ends with 1 where a decision was wrong, requests were left in flight, or memory grew after the first quarter.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { fileURLToPath } from 'node:url'

import { PodwayError, Router } from '../index.mjs'

/** Groups that come and go and change their names; one stays. The rules look at a header every other turn. */
function model(turn) {
  const attributes = [
    ['stickiness.enabled', 'true'], ['stickiness.type', 'lb_cookie'], ['deregistration_delay.timeout_seconds', '0']
  ].map(([Key, Value]) => ({ Key, Value }))
  const header = { Field: 'http-header', HttpHeaderConfig: { HttpHeaderName: 'x-turn', Values: ['yes'] } }
  const path = { Field: 'path-pattern', Values: ['/turn/*'] }
  const group = (name, i) => ({
    TargetGroupArn: `arn:${name}`, TargetGroupName: `${name}-${turn % 5}`, TargetType: 'ip', Attributes: attributes,
    TargetHealthDescriptions: Array.from({ length: 8 + (turn % 4) }, (_, n) => (
      { Target: { Id: `10.0.${i}.${n + 1}`, Port: 80 }, TargetHealth: { State: 'healthy' } }
    ))
  })
  return {
    LoadBalancers: [{
      LoadBalancerArn: 'arn:lb', LoadBalancerName: 'web', Listeners: [{
        Port: 80, Protocol: 'HTTP', DefaultActions: [{ Type: 'forward', TargetGroupArn: 'arn:stays' }],
        Rules: [{
          Priority: '1', Conditions: turn % 2 ? [path, header] : [path],
          Actions: [{ Type: 'forward', TargetGroupArn: `arn:turn${turn % 3}` }]
        }]
      }]
    }],
    TargetGroups: [group('stays', 1), group(`turn${turn % 3}`, 2)]
  }
}

/** What V8 holds for this thread and does not use, in KiB: it lets its heaps grow as it likes. */
function spare() {
  globalThis.gc?.()
  const { heapTotal, heapUsed } = process.memoryUsage()
  return (heapTotal - heapUsed) >> 10
}

function decide() {
  const router = Router.join(workerData.token)
  const web = router.listener('web', 80)
  const batch = Array.from({ length: 20 }, (_, i) => ({ target: `/turn/${i}`, host: 'example.com' }))
  let stopped = false
  let count = 0
  let cookie = ''
  parentPort.on('message', () => { stopped = true })
  let told = 0
  const turn = () => {
    if (performance.now() - told > 1000) {
      told = performance.now()
      workerData.room[workerData.number] = spare()
    }
    for (let i = 0; i < 200; i++) {
      const headers = { cookie, 'x-turn': 'yes', accept: '*/*' }
      const decision = router.decide(web, { target: '/turn/x', host: 'example.com', headers })
      if (decision.type !== 'forward' || !/^(turn|stays)/.test(decision.targetGroup ?? 'turn')) {
        throw new Error(JSON.stringify(decision))
      }
      cookie = decision.setCookies.map((line) => line.split(';')[0]).join('; ')
      router.report(decision, i % 7 ? 'response' : 'closed')
      count++
    }
    for (const decision of router.decideMany(web, batch)) {
      router.report(decision)
      count++
    }
    stopped ? (parentPort.postMessage(count), parentPort.close()) : setImmediate(turn)
  }
  turn()
}

async function main() {
  const [seconds = 600, threads = 4] = process.argv.slice(2).map(Number)
  const router = new Router(model(0))
  const token = router.share()
  const room = new Int32Array(new SharedArrayBuffer(threads * 4))
  const workers = Array.from({ length: threads }, (_, number) => (
    new Worker(fileURLToPath(import.meta.url), { workerData: { token, room, number } })
  ))
  const counts = workers.map((worker) => new Promise((resolve, reject) => {
    worker.on('message', resolve)
    worker.on('error', reject)
  }))
  const failed = Promise.race(counts.map((count) => count.then(() => undefined)))
  failed.catch(() => {})
  const samples = []
  let reloads = 0
  const end = performance.now() + seconds * 1000
  let sampled = 0
  while (performance.now() < end) {
    reloads++
    router.reload(model(reloads))
    try {
      router.reload('{"LoadBalancers": 7}')
      throw new Error('a broken model was taken')
    } catch (error) {
      if (!(error instanceof PodwayError)) throw error
    }
    for (const probe of router.poll().probes) router.reportProbe(probe.targetId, 200)
    router.targets()
    router.events()
    if (performance.now() - sampled > Math.min(1000, seconds * 50)) {
      sampled = performance.now()
      const free = room.reduce((sum, kib) => sum + kib, spare())
      samples.push((process.memoryUsage.rss() >> 10) - free)
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  workers.forEach((worker) => worker.postMessage('stop'))
  const decisions = (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
  router.poll()
  const left = router.targets().reduce((sum, target) => sum + target.inFlight, 0)
  const settled = samples.slice(samples.length >> 2)
  const part = (settled.length >> 2) + 1
  const first = Math.max(...settled.slice(0, part))
  const last = Math.max(...settled.slice(-part))
  console.log(
    `soak node: ${decisions} decisions on ${threads} threads, ${reloads} reloads, ${left} in flight, `
    + `RSS without what V8 keeps free ${first} KiB after a quarter, ${last} KiB at the end`
  )
  // A leak of one object a decision would be hundreds of times that.
  process.exit(left === 0 && last - first < Math.max(16384, first / 10) ? 0 : 1)
}

isMainThread ? await main() : decide()
