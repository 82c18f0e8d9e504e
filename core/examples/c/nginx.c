/*
 * How podway sits in a server of nginx's shape: one router for all workers' requests, one output per worker,
 * an access handler that chooses the upstream, a log handler that reports. The structs below stand in for
 * nginx's, with the same names for the same things, so that this compiles and runs by itself; in a module
 * <ngx_http.h> takes their place and the bodies stay as they are.
 */
#include <podway.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    size_t len;
    unsigned char *data;
} ngx_str_t;

typedef struct {
    ngx_str_t key;
    ngx_str_t value;
} ngx_table_elt_t;

enum { MAX_HEADERS = 32, NGX_DECLINED = -5, NGX_HTTP_BAD_GATEWAY = 502 };

typedef struct {
    ngx_str_t method_name;
    ngx_str_t unparsed_uri;
    ngx_table_elt_t headers_in[MAX_HEADERS];
    size_t headers_in_count;
    unsigned status;
    /* The module's context of the request. */
    podway_decision decision;
    podway_address upstream;
} ngx_http_request_t;

/* The module's configuration: one router for all, read by every worker thread at once. */
typedef struct {
    podway_router *router;
    uint32_t listener;
} podway_conf_t;

/* What one worker has for itself. */
typedef struct {
    podway_output *output;
    podway_now now;
    uint64_t entropy;
} podway_worker_t;

static podway_str view(ngx_str_t text) {
    podway_str it = {text.data, text.len};
    return it;
}

/* NGX_HTTP_ACCESS_PHASE: views into the request's own memory go in, numbers come out. */
static int access_handler(const podway_conf_t *conf, podway_worker_t *worker, ngx_http_request_t *r) {
    podway_header headers[MAX_HEADERS];
    podway_request request = {sizeof request, view(r->method_name), view(r->unparsed_uri), {NULL, 0}, headers, 0,
                              {{192, 0, 2, 1}, 40000, 4}};
    for (size_t i = 0; i < r->headers_in_count; i++) {
        headers[i].name = view(r->headers_in[i].key);
        headers[i].value = view(r->headers_in[i].value);
    }
    request.header_count = r->headers_in_count;
    r->decision.struct_size = sizeof r->decision;
    if (podway_router_decide(conf->router, conf->listener, &request, worker->now, worker->entropy++,
                             worker->output, &r->decision) != PODWAY_STATUS_OK)
        return NGX_HTTP_BAD_GATEWAY;
    if (r->decision.type == PODWAY_TYPE_FORWARD) {
        /* The upstream module connects there; rewritten parts are in podway_output_uri and _host. */
        r->upstream = r->decision.address;
        return NGX_DECLINED;
    }
    r->status = r->decision.status;
    return r->decision.status;
}

/* NGX_HTTP_LOG_PHASE, which runs once for every request, whatever became of it. */
static void log_handler(const podway_conf_t *conf, const podway_worker_t *worker, ngx_http_request_t *r) {
    int32_t outcome = r->status == 0 ? PODWAY_OUTCOME_CANCELLED : PODWAY_OUTCOME_RESPONSE;
    podway_router_report(conf->router, &r->decision, outcome, (uint16_t)r->status, worker->now);
}

/* A changed configuration: requests that are under way are not disturbed, a broken one changes nothing. */
static podway_status reload(podway_conf_t *conf, const podway_worker_t *worker, const char *json) {
    podway_model *model = NULL;
    podway_str text = {(const uint8_t *)json, strlen(json)};
    podway_status status = podway_model_from_json(text, &model, NULL);
    if (status == PODWAY_STATUS_OK) status = podway_router_reload(conf->router, model, worker->now, NULL);
    podway_model_free(model);
    return status;
}

static const char MODEL[] =
    "{\"LoadBalancers\":[{\"LoadBalancerArn\":\"arn:lb\",\"LoadBalancerName\":\"web\",\"Listeners\":[{"
    "\"ListenerArn\":\"arn:l\",\"Port\":80,\"Protocol\":\"HTTP\",\"DefaultActions\":[{\"Type\":\"forward\","
    "\"TargetGroupArn\":\"arn:tg\"}],\"Rules\":[{\"Priority\":\"1\",\"Conditions\":[{\"Field\":\"path-pattern\","
    "\"Values\":[\"/old/*\"]}],\"Actions\":[{\"Type\":\"redirect\",\"RedirectConfig\":{\"Path\":\"/new\","
    "\"StatusCode\":\"HTTP_301\"}}]}]}]}],\"TargetGroups\":[{\"TargetGroupArn\":\"arn:tg\",\"TargetGroupName\":\"app\","
    "\"TargetType\":\"ip\",\"TargetHealthDescriptions\":[{\"Target\":{\"Id\":\"10.0.0.1\",\"Port\":8080},"
    "\"TargetHealth\":{\"State\":\"healthy\"}}]}]}";

#define TEXT(literal) {sizeof(literal) - 1, (unsigned char *)(literal)}

int main(void) {
    podway_conf_t conf = {NULL, 0};
    podway_worker_t worker = {podway_output_new(), {1000, 1767225600}, 1};
    podway_model *model = NULL;
    podway_str json = {(const uint8_t *)MODEL, sizeof MODEL - 1}, none = {NULL, 0};
    podway_str name = {(const uint8_t *)"web", 3};
    static const uint8_t secret[32] = {1, 2, 3};
    podway_str key = {secret, sizeof secret};
    if (podway_model_from_json(json, &model, NULL) != PODWAY_STATUS_OK ||
        podway_router_new(model, none, key, worker.now, &conf.router, NULL) != PODWAY_STATUS_OK ||
        podway_router_listener(conf.router, name, 80, &conf.listener) != PODWAY_STATUS_OK)
        return 2;
    podway_model_free(model);
    static char *targets[] = {"/old/page", "/api?x=1", "/../.."};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        ngx_http_request_t r;
        memset(&r, 0, sizeof r);
        ngx_str_t method = TEXT("GET"), host = TEXT("Host"), value = TEXT("shop.example.com");
        r.method_name = method;
        r.unparsed_uri.data = (unsigned char *)targets[i];
        r.unparsed_uri.len = strlen(targets[i]);
        r.headers_in[0].key = host;
        r.headers_in[0].value = value;
        r.headers_in_count = 1;
        if (access_handler(&conf, &worker, &r) == NGX_DECLINED) {
            printf("%s: upstream port %u\n", targets[i], (unsigned)r.upstream.port);
            r.status = 200;
        } else {
            podway_str location = podway_output_location(worker.output);
            printf("%s: %u %.*s\n", targets[i], r.status, (int)location.len, (const char *)location.ptr);
        }
        log_handler(&conf, &worker, &r);
    }
    printf("reload: %d, broken: %d\n", (int)reload(&conf, &worker, MODEL), (int)reload(&conf, &worker, "{"));
    podway_output_free(worker.output);
    podway_router_free(conf.router);
    return 0;
}
