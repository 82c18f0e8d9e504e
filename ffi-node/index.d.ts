/** Where an input is wrong, and what would have been right. */
export interface Diagnostic {
  readonly Severity: 'error' | 'warning'
  readonly Code: string
  readonly Message: string
  readonly Object?: string
  readonly Annotation?: string
  readonly Value?: string
  readonly Expected?: string
  readonly File?: string
  readonly Line?: number
  readonly Column?: number
}

/** An error of podway. `code` is stable (for example `E_CIDR`); the message says what to do. */
export class PodwayError extends Error {
  readonly code: string
  readonly file?: string
  readonly line?: number
  readonly column?: number
  readonly diagnostics: readonly Diagnostic[]
}

/** Load balancers, rules, target groups and targets, in the ELBv2 API's own words. Immutable. */
export class Model {
  private constructor()
  /** Reads a model out of JSON text, an object of that shape, or another model. */
  static from(value: Model | string | object): Model
  /** Warnings of the input, and the errors of what was left out. */
  readonly diagnostics: readonly Diagnostic[]
  /** Everything that the ELBv2 API would refuse, and warnings about what its documentation is of two minds
   * about. Without an error among them the API would accept the model. `options` are a router's. */
  validate(options?: RouterOptions['options']): Diagnostic[]
  toJSON(): unknown
  toString(): string
}

/** A text with the name that errors give it. */
export interface Source {
  readonly name: string
  readonly text: string
}

export interface LoadOptions {
  /** The controller's flags and gates: the fields of the Rust `Settings` in camelCase, such as
   * `{ defaultTargetType: 'ip', quotas: { rulesPerLoadBalancer: 200 } }`, or their JSON as Rust reads it. */
  controller?: Readonly<Record<string, unknown>> | string
  /** Goes into hashed names; default `local`. Wins over the field of `controller`. */
  clusterName?: string
  /** How many nodes to make up where the input has none; default 3. */
  nodes?: number
  /** Leave broken Ingresses out instead of refusing their group. */
  skipBroken?: boolean
}

/** Reads Kubernetes manifests, or the JSON of `aws elbv2 describe-*`: files, folders, or texts. */
export function load(input: string | Source | readonly (string | Source)[], options?: LoadOptions): Model

/** A moment. Without one, the clocks are read: `process.hrtime` and the system's date, as `now()` tells. */
export interface Now {
  /** Milliseconds on a clock that never steps back. */
  readonly monoMs: number
  /** Seconds since 1970-01-01T00:00:00Z. */
  readonly unixS: number
}

/** This moment, on the clocks that are taken where none is given. All threads share them. */
export function now(): Now

/** A string is taken as UTF-8; bytes are taken as they are. */
export type Text = string | Uint8Array

/** Pairs in the order received (an array, a `Map`, the `Headers` of fetch), or an object as `node:http` has it. Names
 * are compared without case. */
export type Headers =
  | Iterable<readonly [string, Text]>
  | Readonly<Record<string, Text | number | readonly Text[] | undefined>>

export interface Request {
  /** Default `GET`. */
  method?: Text
  /** Path and query as received. */
  target: Text
  /** Without it the first `host` among the headers counts. */
  host?: Text
  headers?: Headers
  /** The client: `address:port` (an IPv6 address in brackets), or a socket. Default `127.0.0.1:0`, also of a socket
   * that tells no address because its client has left. */
  peer?:
    | string
    | { readonly address: string; readonly port: number }
    | { readonly remoteAddress?: string; readonly remotePort?: number }
}

/** Where a request goes. A forward owes one `report`. */
export class Decision {
  private constructor()
  /** The rule that matched: a number as text, or `default`. */
  readonly priority?: string
  readonly type: 'forward' | 'redirect' | 'fixed-response' | 'error'
  /** What to answer with; a forward has none. */
  readonly status?: number
  /** Why it is an error. */
  readonly reason?: string
  readonly targetGroup?: string
  /** `namespace/name:port`. */
  readonly service?: string
  /** `id:port`. */
  readonly target?: string
  /** Where to connect to. */
  readonly address?: string
  /** Whether too few targets were healthy, so that all were candidates. */
  readonly failOpen?: boolean
  /** `off`, `new`, `kept`, or why the cookie could not be honoured. */
  readonly stickiness?: string
  /** What has to succeed first. */
  readonly authenticate?: 'authenticate-oidc' | 'authenticate-cognito' | 'jwt-validation'
  readonly location?: string
  readonly body?: string
  readonly contentType?: string
  /** Path and query for the target, where a transform changed them. */
  readonly uri?: string
  /** Host for the target, where a transform changed it. */
  readonly host?: string
  /** Values of the Set-Cookie headers that the response must carry. */
  readonly setCookies: readonly string[]
  /** A plain object of the fields that belong to the type. */
  toJSON(): Record<string, unknown>
}

export type Outcome = 'response' | 'connect-failed' | 'timed-out' | 'closed' | 'cancelled'

/** A health check that is due. */
export interface Probe {
  readonly targetId: string
  readonly address: string
  readonly protocol: 'HTTP' | 'HTTPS'
  readonly protocolVersion: 'HTTP1' | 'HTTP2' | 'GRPC'
  readonly path: string
  readonly host: string
  readonly timeoutMs: number
}

export type TargetState = 'initial' | 'healthy' | 'unhealthy' | 'unused' | 'draining' | 'unavailable'

export interface TargetInfo {
  readonly id: string
  readonly targetGroup: string
  readonly target: string
  readonly address?: string
  readonly zone?: string
  readonly state: TargetState
  readonly reason?: string
  readonly description?: string
  readonly inFlight: number
  /** Whether it fails more often than its peers. */
  readonly anomalous: boolean
  /** Whether it gets less than its share of requests for that. */
  readonly mitigationInEffect: boolean
  readonly administrativeOverride: 'no_override' | 'zonal_shift_active' | 'zonal_shift_delegated_to_dns'
}

/** What a node does with a connection to its NodePort. */
export interface Hop {
  readonly node: string
  readonly outcome: 'forwarded' | 'refused' | 'dropped'
  readonly pod?: string
  readonly address?: string
  /** Whether the pod sees the node as its peer, and not the load balancer. */
  readonly fromNode?: boolean
  readonly healthCheckStatus: number
  readonly localEndpoints: number
}

export interface TargetGroupInfo {
  readonly id: number
  readonly name: string
  readonly arn: string
  /** `namespace/name:port` of the Service it was made for. */
  readonly service?: string
}

/** What is known of a zone from the targets of one group. */
export interface ZoneHealth {
  /** Absent for targets without one. */
  readonly zone?: string
  /** Registered targets there, draining and unused ones not counted. */
  readonly registered: number
  readonly healthy: number
  /** Whether requests go to healthy targets only: false while the group fails open. */
  readonly routingHealthy: boolean
  /** Whether the zone's addresses may stay in DNS as far as this group goes. */
  readonly dnsHealthy: boolean
  /** Whether a zonal shift keeps requests away from its targets. */
  readonly shifted: boolean
}

/** Something that keeps a request from the target of the one before it. */
export interface WhyUnsticky {
  /** The cookie it is about; absent for kube-proxy. */
  readonly cookie?: string
  readonly reason: string
  /** The same for people, with what to look at. */
  readonly text: string
}

export interface ListenerInfo {
  readonly id: number
  readonly loadBalancer: string
  readonly port: number
  readonly protocol: 'HTTP' | 'HTTPS'
}

export interface HealthEvent {
  readonly targetId: string
  readonly targetGroup: string
  readonly target: string
  readonly from?: TargetState
  readonly to?: TargetState
  readonly reason?: string
  readonly description?: string
  readonly atMs: number
}

/** Why a request goes where it goes: the rules that were looked at, in order, and what each condition saw. */
export interface Explanation {
  readonly Decision: Readonly<Record<string, unknown>>
  /** The request as rules see it; absent where it never got to the rules. */
  readonly Request?: Readonly<Record<string, string>>
  readonly Rules: readonly {
    readonly Priority: string
    readonly Matches: boolean
    readonly Conditions: readonly Readonly<Record<string, unknown>>[]
  }[]
  /** How many rules come after the one that matched. */
  readonly NotReached: number
}

export interface RouterOptions {
  /** Behaviour that AWS does not pin down: the fields of the Rust `Options` in camelCase, or their JSON as Rust
   * reads it. */
  options?: Readonly<Record<string, unknown>> | string
  /** 32 bytes; replicas that share it honour each other's cookies. Default: random. */
  cookieKey?: Uint8Array
  now?: Now
}

/** A compiled model with the state of its targets. Worker threads can share one: `share` and `join`. */
export class Router {
  constructor(model: Model | string | object, options?: RouterOptions)
  /** A token for `Router.join` in another thread of this process, to be sent with `postMessage`. */
  share(): number
  /** The router that another thread shares: the same targets, health and requests in flight. */
  static join(token: number): Router
  /** The id of a listener; throws `E_NOT_FOUND`. Valid across reloads. */
  listener(loadBalancer: string, port: number): number
  listeners(): ListenerInfo[]
  /** Decides where a request goes. */
  decide(listener: number, request: Request, options?: { now?: Now; entropy?: bigint | number }): Decision
  /** Decides many requests in one call: what takes the time of a single one is mostly the crossing. */
  decideMany(listener: number, requests: readonly Request[]): Decision[]
  /** Another target of the same group, after the connection to that of `failed` (reported as `connect-failed`)
   * could not be made; undefined without the option `retry`, for methods that are not idempotent, and where
   * there is no other target. The new decision owes a report of its own; ask once for a request. */
  retry(
    failed: Decision,
    listener: number,
    request: Request,
    options?: { now?: Now; entropy?: bigint | number }
  ): Decision | undefined
  /** Settles a forward of this router: owed exactly once for each. An outcome that there is not is `E_ARGUMENT`. */
  report(decision: Decision, outcome?: Outcome, options?: { status?: number; now?: Now }): void
  /** For stickiness of type `app_cookie`: given the headers of the request and the names of the cookies that
   * the target's response sets, the values of the Set-Cookie headers that the load balancer adds. */
  appCookie(
    decision: Decision,
    headers: Headers,
    names: Iterable<string>,
    options?: { now?: Now; entropy?: bigint | number }
  ): string[]
  /** The authentication action that a decision asks for, as the model has it. */
  authentication(listener: number, decision: Decision): Record<string, unknown> | undefined
  /** Decides as `decide` does and tells why. Owes no report. */
  explain(listener: number, request: Request, options?: { now?: Now; entropy?: bigint | number }): Explanation
  /** What keeps this request from the target that the client had before; nothing where the cookies hold.
   * `history` are values of Set-Cookie headers that the client got earlier, oldest first. Changes nothing. */
  whyUnsticky(
    listener: number,
    request: Request,
    options?: { history?: Iterable<string>; now?: Now }
  ): WhyUnsticky[]
  /** Shifts the traffic of a load balancer, by name or ARN, away from a zone until it is cancelled. */
  startZonalShift(loadBalancer: string, zone: string, options?: { now?: Now }): void
  /** Ends all zonal shifts of a load balancer. */
  cancelZonalShift(loadBalancer: string, options?: { now?: Now }): void
  /** The probes that are due, and the moment (`monoMs`) to poll again. */
  poll(options?: { now?: Now }): { probes: Probe[]; next?: number }
  /** Takes a probe's result: a status, `timed-out`, `failed`, or `internal-error` where the check could not be made by
   * no fault of the target. */
  reportProbe(targetId: string, result: number | 'timed-out' | 'failed' | 'internal-error', options?: { now?: Now }): void
  /** Swaps a model in; a failure leaves everything as it was. */
  reload(model: Model | string | object, options?: { now?: Now }): void
  /** Replaces the keys of cookies, each 32 bytes: the first seals, the others still open what they sealed. */
  setCookieKeys(keys: Iterable<Uint8Array>): void
  /** The id of a target by its group's name and `id:port`; throws `E_NOT_FOUND`. */
  findTarget(targetGroup: string, target: string): string
  setTargetHealth(targetId: string, state: TargetState, options?: { now?: Now }): void
  /** How many reports came for a registration that was gone, or for one with nothing in flight. A report that comes
   * twice while its target serves others is taken for one of theirs. */
  lateReports(): number
  /**
   * What the node that is this target does with a new connection from `client`, the load balancer's own
   * address; undefined where the target is no node with a NodePort.
   */
  hop(targetId: string, client?: string, options?: { now?: Now; entropy?: bigint | number }): Hop | undefined
  /** The names of the headers that a decision may look at, in lower case and sorted. */
  headerNames(): string[]
  /** All target groups. */
  targetGroups(): TargetGroupInfo[]
  /** The zones that a target group (by name or ARN) has targets in, with what routing and DNS fail-over make of
   * them; throws `E_NOT_FOUND`. */
  zoneHealth(targetGroup: string): ZoneHealth[]
  /** All targets, draining ones included. */
  targets(): TargetInfo[]
  /** Changes of health since the last call. */
  events(): HealthEvent[]
}
