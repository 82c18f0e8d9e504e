// Compiled, never run: the types say what the package does.
import { load, Model, PodwayError, Router, type Decision } from '..'

const model: Model = load(['core/examples/target-type-ip', { name: 'web.yml', text: '' }], { nodes: 2 })
const router = new Router(model, { options: { regexAnchored: true }, cookieKey: new Uint8Array(32) })
const decision: Decision = router.decide(router.listener('web', 443), { target: '/', headers: { cookie: 'a=1' } })
if (decision.type === 'forward') router.report(decision, 'response', { status: 200 })
const { probes, next }: { probes: { targetId: string }[]; next?: number } = router.poll()
for (const probe of probes) router.reportProbe(probe.targetId, next === undefined ? 'failed' : 200)
try {
  router.reload('{}')
} catch (error) {
  if (error instanceof PodwayError) console.error(error.code, error.line)
}
