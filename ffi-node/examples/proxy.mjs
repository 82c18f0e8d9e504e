// A load balancer of a page on node:http: podway decides, node:http carries.
//
//   node ffi-node/examples/proxy.mjs MANIFESTS LOAD_BALANCER PORT [LISTEN_PORT]
import http from 'node:http'

import { load, Router } from 'podway'
import { HealthChecks } from 'podway/health'

const [manifests, loadBalancer, port, listenPort = '8080'] = process.argv.slice(2)
if (port === undefined) {
  console.error('usage: proxy.mjs MANIFESTS LOAD_BALANCER PORT [LISTEN_PORT]')
  process.exit(2)
}
const router = new Router(load(manifests))
const listener = router.listener(loadBalancer, Number(port))
const agent = new http.Agent({ keepAlive: true })
const log = (events) => events.forEach((e) => console.error(`${e.target}: ${e.from ?? '-'} -> ${e.to ?? 'gone'}`))
const checks = new HealthChecks(router, { onEvents: log })

/** The headers that are not about one connection. */
function endToEnd(headers) {
  const { connection, 'keep-alive': _, te, upgrade, 'transfer-encoding': coding, ...rest } = headers
  return rest
}

const server = http.createServer((request, response) => {
  const decision = router.decide(listener, {
    method: request.method,
    target: request.url,
    headers: request.headers,
    peer: request.socket
  })
  if (decision.type !== 'forward') {
    if (decision.location !== undefined) response.setHeader('location', decision.location)
    if (decision.contentType !== undefined) response.setHeader('content-type', decision.contentType)
    response.writeHead(decision.status)
    response.end(decision.body)
    return
  }
  const client = request.socket.remoteAddress
  const before = request.headers['x-forwarded-for']
  const headers = endToEnd(request.headers)
  if (client !== undefined) headers['x-forwarded-for'] = before === undefined ? client : `${before}, ${client}`
  if (decision.host !== undefined) headers.host = decision.host
  const at = decision.address.lastIndexOf(':')
  const upstream = http.request({
    agent,
    host: decision.address.slice(0, at).replace(/^\[|\]$/g, ''),
    port: Number(decision.address.slice(at + 1)),
    method: request.method,
    path: decision.uri ?? request.url,
    headers
  })
  let open = true
  const settle = (outcome, status) => {
    if (open) {
      open = false
      router.report(decision, outcome, { status })
    }
  }
  upstream.on('response', (answer) => {
    const own = [].concat(answer.headers['set-cookie'] ?? [])
    const names = own.map((line) => line.split('=', 1)[0])
    const added = [...decision.setCookies, ...router.appCookie(decision, request.headers, names)]
    const headers = endToEnd(answer.headers)
    if (added.length + own.length > 0) headers['set-cookie'] = [...own, ...added]
    response.writeHead(answer.statusCode, headers)
    answer.pipe(response)
    answer.on('end', () => settle('response', answer.statusCode))
    answer.on('error', () => {
      settle('closed')
      response.destroy() // half an answer must not look like a whole one
    })
  })
  upstream.on('error', (error) => {
    settle(error.syscall === 'connect' ? 'connect-failed' : 'closed')
    if (response.headersSent) {
      response.destroy()
    } else {
      response.writeHead(502).end()
    }
  })
  response.on('close', () => {
    settle('cancelled')
    upstream.destroy()
  })
  request.pipe(upstream)
})

server.listen(Number(listenPort), () => console.log(`listening on ${server.address().port}`))
process.on('SIGTERM', () => {
  checks.stop()
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
