// Compiled, never run: the types say what the package does.
import { load, Model, now, PodwayError, Router, type Decision } from '..'
import { HealthChecks } from '../health'
import { Routes } from '../testing'
import { podway } from '../undici'

const model: Model = load(['core/examples/target-type-ip', { name: 'web.yml', text: '' }], {
  nodes: 2, controller: { defaultTargetType: 'ip', defaultTags: { Team: 'web' } }
})
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
const many: Decision[] = router.decideMany(1, [{ target: new Uint8Array(1), peer: { remoteAddress: '::1', remotePort: 1 } }])
const again: Decision | undefined = router.retry(decision, 1, { target: '/' })
const reasons: string[] = router.whyUnsticky(1, { target: '/' }, { history: many[0]!.setCookies }).map((why) => why.reason)
const zones: (string | undefined)[] = router.zoneHealth(router.targetGroups()[0]!.name).map((zone) => zone.zone)
const problems: string[] = model.validate({ wildcardsPerRule: 5 }).map((problem) => problem.Message)
const cookies: string[] = router.appCookie(many[0]!, { cookie: undefined, a: ['b'] }, ['SID'], { now: now() })
router.setCookieKeys([new Uint8Array(32)])
const joined: Router = Router.join(router.share())
new HealthChecks(joined, { onEvents: (events) => events.map((event) => event.to) }).stop()
new Routes(model, { loadBalancer: 'web' }).assert('GET http://x/', { type: 'forward', service: /app/ })
const compose: (dispatch: unknown) => unknown = podway(router, { listener: 1, protocol: 'https' })
// @ts-expect-error: a decision is made by decide
report(decision, compose, cookies, again, reasons, zones, problems, router.headerNames())
