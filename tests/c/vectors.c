/*
 * Runs the routing vectors through the C ABI. tests/c.rs turns each vector into lines of words and judges
 * what is printed: one line for each line read.
 */
#include "words.h"

/*
 * Where the C library lets a program stand in for its allocator, what happens inside decide and report is
 * counted: with COUNT_ALLOCATIONS.
 */
static size_t allocations, counted_calls, inside;

#ifdef COUNT_ALLOCATIONS
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) {
    allocations += inside;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations += inside;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    allocations += inside;
    return __libc_realloc(memory, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    allocations += inside;
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL;
}
#endif

#define COUNTED(call) (inside = 1, counted_calls++, status = (call), inside = 0)

enum { MAX_STEPS = 256, MAX_COOKIES = 8 };

static struct step {
    podway_decision decision;
    char *cookies[MAX_COOKIES];
} steps[MAX_STEPS];

static podway_model *model;
static podway_router *router;
static podway_output *output;
static podway_probes *probes;

/* Commands */

static void forget(void) {
    for (size_t i = 0; i < MAX_STEPS; i++)
        for (size_t c = 0; c < MAX_COOKIES; c++) {
            free(steps[i].cookies[c]);
            steps[i].cookies[c] = NULL;
        }
    memset(steps, 0, sizeof steps);
    podway_router_free(router);
    podway_model_free(model);
    router = NULL;
    model = NULL;
}

static struct step *step(size_t at) {
    uint64_t index = number(at);
    if (index >= MAX_STEPS) die("too many steps");
    return &steps[index];
}

static void new_router(void) {
    static const uint8_t key[32] = {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
                                    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7};
    podway_str cookie_key = {key, sizeof key};
    podway_error *error = NULL;
    podway_status status = podway_router_new(model, text(1), cookie_key, moment(2), &router, &error);
    if (status == PODWAY_STATUS_OK) {
        /* What a thread needs once, it makes at its first decision: here, for a listener that is not. */
        podway_decision none = {0};
        none.struct_size = sizeof none;
        podway_request request = {sizeof request, {NULL, 0}, {NULL, 0}, {NULL, 0}, NULL, 0, {{0}, 0, 4}};
        if (podway_router_decide(router, UINT32_MAX, &request, moment(2), 0, output, &none) != PODWAY_STATUS_OK)
            die("a decision for no listener failed");
    }
    done(status, error);
}

/* The cookies that earlier steps set, as one header. */
static char *cookie_header(const char *indexes) {
    size_t size = 1;
    char *header = must(calloc(1, 1));
    for (const char *from = indexes; *from != '\0'; from += *from == ',') {
        char *end;
        unsigned long index = strtoul(from, &end, 10);
        if (end == from || index >= MAX_STEPS) die("broken step numbers");
        from = end;
        for (size_t c = 0; c < MAX_COOKIES && steps[index].cookies[c] != NULL; c++) {
            const char *cookie = steps[index].cookies[c];
            size_t length = strcspn(cookie, ";");
            header = must(realloc(header, size + length + 2));
            if (size > 1) strcat(header, "; ");
            strncat(header, cookie, length);
            size += length + 2;
        }
    }
    return header;
}

/* A request, and the memory that its headers need. */
struct asked {
    podway_request request;
    podway_header headers[MAX_WORDS];
    char *cookies;
};

/* [=NAME =VALUE]... from `first` on, and a line for the cookies that the steps in `cookies` set. */
static void read_headers(struct asked *asked, size_t cookies, size_t first) {
    podway_header *header = asked->headers;
    for (size_t word = first; word < word_count; word += 2, header++) {
        header->name = text(word);
        header->value = text(word + 1);
    }
    if (!is(cookies, "-")) {
        podway_str name = {(const uint8_t *)"cookie", 6};
        asked->cookies = cookie_header(words[cookies]);
        podway_str value = {(const uint8_t *)asked->cookies, strlen(asked->cookies)};
        header->name = name;
        header->value = value;
        header++;
    }
    asked->request.headers = asked->headers;
    asked->request.header_count = (size_t)(header - asked->headers);
}

/* What decide, retry and why begin with: STEP MONO UNIX ENTROPY =LB PORT =METHOD =TARGET HOST|- =PEER COOKIES|-
 * OTHER [=NAME =VALUE]...; the caller frees the cookies. */
static podway_status ask(struct asked *asked, uint32_t *listener) {
    memset(asked, 0, sizeof *asked);
    asked->request.struct_size = sizeof asked->request;
    asked->request.method = text(7);
    asked->request.target = text(8);
    if (!is(9, "-")) asked->request.host = text(9);
    if (podway_address_parse(text(10), &asked->request.peer) != PODWAY_STATUS_OK) die("a broken peer");
    read_headers(asked, 11, 13);
    return podway_router_listener(router, text(5), (uint16_t)number(6), listener);
}

/* Keeps what a step set. */
static size_t keep_cookies(struct step *at) {
    size_t set = 0;
    for (size_t c = 0; c < MAX_COOKIES; c++) {
        podway_str cookie = podway_output_set_cookie(output, c);
        free(at->cookies[c]);
        at->cookies[c] = NULL;
        if (cookie.ptr == NULL) continue;
        at->cookies[c] = must(calloc(1, cookie.len + 1));
        memcpy(at->cookies[c], cookie.ptr, cookie.len);
        set++;
    }
    return set;
}

static void decided(struct step *at, podway_decision d) {
    at->decision = d;
    printf("decision set_cookies %zu", keep_cookies(at));
    if (d.matched == PODWAY_MATCHED_RULE) printf(" priority =%lu", (unsigned long)d.priority);
    if (d.matched == PODWAY_MATCHED_DEFAULT) printf(" priority =default");
    field("type", podway_type_name(d.type));
    field("reason", podway_reason_name(d.reason));
    field("authenticate", podway_authenticate_name(d.authenticate));
    if (d.status != 0) printf(" status %u", (unsigned)d.status);
    if (d.type == PODWAY_TYPE_FORWARD) {
        podway_text *told = NULL;
        field("stickiness", podway_stickiness_name(d.stickiness));
        printf(" fail_open %s", d.fail_open ? "true" : "false");
        if (podway_router_target_name(router, d.target, &told) == PODWAY_STATUS_OK) text_field("target", told);
        if (podway_router_target_group_name(router, d.target_group, &told) == PODWAY_STATUS_OK)
            text_field("target_group", told);
    }
    field("location", podway_output_location(output));
    field("body", podway_output_body(output));
    field("content_type", podway_output_content_type(output));
    field("uri", podway_output_uri(output));
    field("host", podway_output_host(output));
    podway_text *described = NULL;
    if (podway_router_describe(router, &d, output, &described) != PODWAY_STATUS_OK) die("describe failed");
    text_field("json", described);
}

static struct asked asked;

static void decide(void) {
    uint32_t listener = 0;
    podway_decision d = {0};
    d.struct_size = sizeof d;
    podway_status status = ask(&asked, &listener);
    podway_now now = moment(2);
    uint64_t entropy = number(4);
    if (status == PODWAY_STATUS_OK)
        COUNTED(podway_router_decide(router, listener, &asked.request, now, entropy, output, &d));
    free(asked.cookies);
    if (status == PODWAY_STATUS_OK) decided(step(1), d);
    else failed(status, NULL);
}

/* retry as decide; OTHER is the step that failed */
static void retry(void) {
    uint32_t listener = 0;
    podway_decision d = step(12)->decision;
    podway_status status = ask(&asked, &listener);
    podway_now now = moment(2);
    uint64_t entropy = number(4);
    if (status == PODWAY_STATUS_OK)
        COUNTED(podway_router_retry(router, listener, &asked.request, &d, now, entropy, output, &d));
    free(asked.cookies);
    if (status == PODWAY_STATUS_OK) decided(step(1), d);
    else if (status == PODWAY_STATUS_NOT_FOUND) printf("none");
    else failed(status, NULL);
}

/* app_cookie STEP MONO UNIX ENTROPY DECIDED COOKIES|- COUNT [=NAME]... [=NAME =VALUE]... */
static void app_cookie(void) {
    static podway_str names[MAX_WORDS];
    struct step *at = step(1);
    size_t count = (size_t)number(7);
    for (size_t i = 0; i < count; i++) names[i] = text(8 + i);
    memset(&asked, 0, sizeof asked);
    asked.request.struct_size = sizeof asked.request;
    asked.request.peer.family = 4;
    read_headers(&asked, 6, 8 + count);
    at->decision = step(5)->decision;
    podway_now now = moment(2);
    uint64_t entropy = number(4);
    podway_status status;
    COUNTED(podway_router_app_cookie(router, &at->decision, &asked.request, names, count, now, entropy, output));
    free(asked.cookies);
    if (status != PODWAY_STATUS_OK) {
        failed(status, NULL);
        return;
    }
    keep_cookies(at);
    printf("cookies");
    for (size_t c = 0; c < MAX_COOKIES && at->cookies[c] != NULL; c++) field("set", podway_output_set_cookie(output, c));
}

static void list(podway_status status, podway_text *told) {
    if (status != PODWAY_STATUS_OK) {
        failed(status, NULL);
        return;
    }
    printf("list");
    text_field("json", told);
}

/* why as decide; OTHER are the steps whose cookies came earlier */
static void why(void) {
    static podway_str history[MAX_STEPS * MAX_COOKIES];
    size_t count = 0;
    uint32_t listener = 0;
    podway_text *told = NULL;
    podway_status status = ask(&asked, &listener);
    for (const char *from = is(12, "-") ? "" : words[12]; *from != '\0'; from += *from == ',') {
        char *end;
        unsigned long index = strtoul(from, &end, 10);
        if (end == from || index >= MAX_STEPS) die("broken step numbers");
        from = end;
        for (size_t c = 0; c < MAX_COOKIES && steps[index].cookies[c] != NULL; c++) {
            history[count].ptr = (const uint8_t *)steps[index].cookies[c];
            history[count++].len = strlen(steps[index].cookies[c]);
        }
    }
    if (status == PODWAY_STATUS_OK)
        status = podway_router_why_unsticky(router, listener, &asked.request, history, count, moment(2), &told);
    free(asked.cookies);
    list(status, told);
}

/* zones =GROUP */
static void zones(void) {
    uint32_t group = 0;
    podway_text *told = NULL;
    podway_status status = podway_router_find_target_group(router, text(1), &group);
    if (status == PODWAY_STATUS_OK) status = podway_router_zone_health(router, group, &told);
    list(status, told);
}

/* shift =LB ZONE|- MONO UNIX */
static void shift(void) {
    podway_error *error = NULL;
    podway_status status = is(2, "-") ? podway_router_cancel_zonal_shift(router, text(1), moment(3), &error)
                                      : podway_router_start_zonal_shift(router, text(1), text(2), moment(3), &error);
    done(status, error);
}

/* report STEP OUTCOME STATUS MONO UNIX */
static void report(void) {
    int32_t outcome = is(2, "response")         ? PODWAY_OUTCOME_RESPONSE
                      : is(2, "connect-failed") ? PODWAY_OUTCOME_CONNECT_FAILED
                      : is(2, "timed-out")      ? PODWAY_OUTCOME_TIMED_OUT
                      : is(2, "closed")         ? PODWAY_OUTCOME_CLOSED
                      : is(2, "cancelled")      ? PODWAY_OUTCOME_CANCELLED
                                                : 0;
    podway_status status;
    const podway_decision *decision = &step(1)->decision;
    uint16_t code = (uint16_t)number(3);
    podway_now now = moment(4);
    COUNTED(podway_router_report(router, decision, outcome, code, now));
    done(status, NULL);
}

/* settle STEP MONO UNIX [=TARGET OUTCOME STATUS]...: as for the target that was chosen, `*` for the others */
static void settle(void) {
    podway_text *told = NULL;
    struct step *at = step(1);
    size_t found = 0;
    if (podway_router_target_name(router, at->decision.target, &told) == PODWAY_STATUS_OK) {
        podway_str name = podway_text_view(told);
        for (size_t word = 4; word + 2 < word_count; word += 3) {
            int same = lengths[word] == name.len && memcmp(words[word], name.ptr, name.len) == 0;
            int other = lengths[word] == 1 && *words[word] == '*';
            if (same || (found == 0 && other)) found = word;
        }
        podway_text_free(told);
    }
    if (found == 0) {
        printf("ok");
        return;
    }
    int32_t outcome = is(found + 1, "response")         ? PODWAY_OUTCOME_RESPONSE
                      : is(found + 1, "connect-failed") ? PODWAY_OUTCOME_CONNECT_FAILED
                      : is(found + 1, "timed-out")      ? PODWAY_OUTCOME_TIMED_OUT
                      : is(found + 1, "closed")         ? PODWAY_OUTCOME_CLOSED
                                                        : PODWAY_OUTCOME_CANCELLED;
    uint16_t status = (uint16_t)number(found + 2);
    done(podway_router_report(router, &at->decision, outcome, status, moment(2)), NULL);
}

/* health =GROUP =TARGET =STATE MONO UNIX */
static void health(void) {
    uint64_t target = 0;
    podway_error *error = NULL;
    podway_status status = podway_router_find_target(router, text(1), text(2), &target);
    if (status == PODWAY_STATUS_OK)
        status = podway_router_set_target_health(router, target, text(3), moment(4), &error);
    done(status, error);
}

/* probe =GROUP =TARGET RESULT STATUS MONO UNIX */
static void probe(void) {
    uint64_t target = 0;
    int32_t result = is(3, "status")      ? PODWAY_PROBE_STATUS
                     : is(3, "timed-out") ? PODWAY_PROBE_TIMED_OUT
                     : is(3, "failed")    ? PODWAY_PROBE_FAILED
                     : is(3, "internal-error") ? PODWAY_PROBE_INTERNAL_ERROR
                                          : 0;
    podway_status status = podway_router_find_target(router, text(1), text(2), &target);
    if (status == PODWAY_STATUS_OK)
        status = podway_router_report_probe(router, target, result, (uint16_t)number(4), moment(5));
    podway_text *targets = NULL;
    if (status == PODWAY_STATUS_OK) status = podway_router_targets(router, &targets);
    if (status != PODWAY_STATUS_OK) {
        failed(status, NULL);
        return;
    }
    printf("targets");
    text_field("json", targets);
}

/* target =GROUP =TARGET: the targets, whether it is there or not */
static void target(void) {
    podway_text *targets = NULL;
    podway_status status = podway_router_targets(router, &targets);
    if (status != PODWAY_STATUS_OK) {
        failed(status, NULL);
        return;
    }
    printf("targets");
    text_field("json", targets);
}

/* hop =GROUP =TARGET =CLIENT MONO UNIX ENTROPY */
static void hop(void) {
    uint64_t id = 0;
    podway_address client;
    podway_text *told = NULL;
    if (podway_address_parse(text(3), &client) != PODWAY_STATUS_OK) die("a broken client");
    podway_status status = podway_router_find_target(router, text(1), text(2), &id);
    if (status == PODWAY_STATUS_OK)
        status = podway_router_hop(router, id, client, moment(4), number(6), &told);
    if (status != PODWAY_STATUS_OK) {
        failed(status, NULL);
        return;
    }
    printf("hop");
    text_field("json", told);
}

/* poll MONO UNIX: the probes as address, host and path */
static void poll_probes(void) {
    uint64_t next = 0;
    podway_status status = podway_router_poll(router, moment(1), probes, &next);
    for (size_t i = 0; i < podway_probes_count(probes); i++) {
        podway_probe due = {0};
        due.struct_size = sizeof due;
        if (podway_probes_get(probes, i, &due) != PODWAY_STATUS_OK || due.path.len == 0) die("a broken probe");
    }
    done(status, NULL);
    for (size_t i = 0; status == PODWAY_STATUS_OK && i < podway_probes_count(probes); i++) {
        podway_probe due = {0};
        due.struct_size = sizeof due;
        if (podway_probes_get(probes, i, &due) != PODWAY_STATUS_OK) die("a broken probe");
        field("host", due.host);
        field("path", due.path);
        printf(" port %u", (unsigned)due.address.port);
    }
}

/* reload =MODEL MONO UNIX */
static void reload(void) {
    podway_model *next = NULL;
    podway_error *error = NULL;
    podway_status status = podway_model_from_json(text(1), &next, &error);
    if (status == PODWAY_STATUS_OK) status = podway_router_reload(router, next, moment(2), &error);
    podway_model_free(next);
    done(status, error);
}

static void command(void) {
    podway_error *error = NULL;
    if (is(0, "model")) {
        podway_status status = podway_model_from_json(text(1), &model, &error);
        done(status, error);
    } else if (is(0, "manifests")) {
        podway_str path = text(1);
        podway_status status = podway_model_load(&path, 1, NULL, &model, &error);
        done(status, error);
    } else if (is(0, "router")) {
        new_router();
    } else if (is(0, "decide")) {
        decide();
    } else if (is(0, "retry")) {
        retry();
    } else if (is(0, "app_cookie")) {
        app_cookie();
    } else if (is(0, "why")) {
        why();
    } else if (is(0, "zones")) {
        zones();
    } else if (is(0, "shift")) {
        shift();
    } else if (is(0, "report")) {
        report();
    } else if (is(0, "settle")) {
        settle();
    } else if (is(0, "health")) {
        health();
    } else if (is(0, "probe")) {
        probe();
    } else if (is(0, "target")) {
        target();
    } else if (is(0, "hop")) {
        hop();
    } else if (is(0, "poll")) {
        poll_probes();
    } else if (is(0, "reload")) {
        reload();
    } else if (is(0, "end")) {
        forget();
        printf("ok");
    } else {
        die("an unknown command");
    }
    putchar('\n');
}

int main(void) {
    output = podway_output_new();
    probes = podway_probes_new();
    for (char *line = read_line(); line != NULL; line = read_line()) {
        split(line);
        command();
        free(line);
    }
    forget();
    podway_output_free(output);
    podway_probes_free(probes);
#ifdef COUNT_ALLOCATIONS
    fprintf(stderr, "%lu allocations in %lu calls", (unsigned long)allocations, (unsigned long)counted_calls);
#endif
    return allocations == 0 ? 0 : 3;
}
