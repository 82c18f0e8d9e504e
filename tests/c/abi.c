/*
 * What the header promises apart from routing: versions, wrong use, ownership. Prints a line and exits
 * with 1 for each promise that is broken.
 */
#include <podway.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int broken;
static int checked;

#define CHECK(what)                                                       \
    do {                                                                  \
        checked++;                                                        \
        if (!(what)) {                                                    \
            printf("abi.c:%d: not so: %s\n", __LINE__, #what);            \
            broken = 1;                                                   \
        }                                                                 \
    } while (0)

static const podway_str NOTHING = {NULL, 0};
static const podway_now NOW = {0, 1767225600};

static podway_str view(const char *text) {
    podway_str it = {(const uint8_t *)text, strlen(text)};
    return it;
}

static int says(podway_str it, const char *text) {
    return it.len == strlen(text) && (it.len == 0 || memcmp(it.ptr, text, it.len) == 0);
}

static const char MODEL[] =
    "{\"LoadBalancers\":[{\"LoadBalancerArn\":\"arn:lb\",\"LoadBalancerName\":\"web\",\"Listeners\":[{"
    "\"ListenerArn\":\"arn:l\",\"Port\":80,\"Protocol\":\"HTTP\",\"DefaultActions\":[{\"Type\":\"forward\","
    "\"TargetGroupArn\":\"arn:tg\"}],\"Rules\":[{\"Priority\":\"5\",\"Conditions\":[{\"Field\":\"path-pattern\","
    "\"Values\":[\"/hello\"]}],\"Actions\":[{\"Type\":\"fixed-response\",\"FixedResponseConfig\":{"
    "\"StatusCode\":\"200\",\"ContentType\":\"text/plain\",\"MessageBody\":\"hello\"}}]}]}]}],"
    "\"TargetGroups\":[{\"TargetGroupArn\":\"arn:tg\",\"TargetGroupName\":\"app\",\"TargetType\":\"ip\","
    "\"TargetHealthDescriptions\":[{\"Target\":{\"Id\":\"10.0.0.1\",\"Port\":8080},"
    "\"TargetHealth\":{\"State\":\"healthy\"}}]}]}";

static void versions(void) {
    CHECK(podway_abi_version() == PODWAY_ABI_VERSION);
    CHECK(says(podway_version(), PODWAY_VERSION));
    char numbers[64];
    sprintf(numbers, "%d.%d.%d", PODWAY_VERSION_MAJOR, PODWAY_VERSION_MINOR, PODWAY_VERSION_PATCH);
    CHECK(says(podway_version(), numbers));
}

static void nulls(void) {
    podway_model *model = (podway_model *)&broken;
    podway_router *router = (podway_router *)&broken;
    podway_text *text = (podway_text *)&broken;
    podway_error *error = NULL;
    podway_decision decision = {0};
    podway_request request = {0};
    uint64_t number = 7;
    uint32_t listener = 7;
    CHECK(podway_model_load(NULL, 1, NULL, &model, &error) == PODWAY_STATUS_NULL);
    CHECK(error != NULL && podway_error_message(error).len > 0);
    podway_error_free(error);
    CHECK(podway_model_read(NULL, 1, NULL, &model, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_model_from_json(view(MODEL), NULL, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_model_to_json(NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_model_diagnostics(NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_new(NULL, NOTHING, NOTHING, NOW, &router, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_listener(NULL, view("web"), 80, &listener) == PODWAY_STATUS_NULL);
    CHECK(podway_router_decide(NULL, 0, &request, NOW, 0, NULL, &decision) == PODWAY_STATUS_NULL);
    CHECK(podway_router_report(NULL, &decision, PODWAY_OUTCOME_CLOSED, 0, NOW) == PODWAY_STATUS_NULL);
    CHECK(podway_router_reload(NULL, NULL, NOW, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_set_cookie_keys(NULL, NULL, 0, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_app_cookie(NULL, &decision, &request, NULL, 0, NOW, 0, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_find_target(NULL, view("a"), view("b"), &number) == PODWAY_STATUS_NULL);
    CHECK(podway_router_set_target_health(NULL, 0, view("healthy"), NOW, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_target_name(NULL, 0, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_target_group_name(NULL, 0, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_describe(NULL, &decision, NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_authentication(NULL, 0, &decision, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_listeners(NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_targets(NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_events(NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_poll(NULL, NOW, NULL, &number) == PODWAY_STATUS_NULL);
    CHECK(podway_router_report_probe(NULL, 0, PODWAY_PROBE_FAILED, 0, NOW) == PODWAY_STATUS_NULL);
    CHECK(podway_router_explain(NULL, 0, &request, NOW, 0, NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_hop(NULL, 0, request.peer, NOW, 0, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_start_zonal_shift(NULL, view("a"), view("b"), NOW, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_cancel_zonal_shift(NULL, view("a"), NOW, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_retry(NULL, 0, &request, &decision, NOW, 0, NULL, &decision) < 0);
    decision.struct_size = sizeof decision;
    CHECK(podway_router_retry(NULL, 0, &request, &decision, NOW, 0, NULL, &decision) == PODWAY_STATUS_NULL);
    CHECK(podway_router_why_unsticky(NULL, 0, &request, NULL, 0, NOW, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_find_target_group(NULL, view("a"), &listener) == PODWAY_STATUS_NULL);
    CHECK(podway_router_target_groups(NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_zone_health(NULL, 0, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_header_names(NULL, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_late_reports(NULL) == 0);
    CHECK(podway_model_validate(NULL, NOTHING, &text, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_probes_get(NULL, 0, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_address_parse(view("1.2.3.4:5"), NULL) == PODWAY_STATUS_NULL);
    /* Nothing was written where nothing succeeded. */
    CHECK(model == (podway_model *)&broken && router == (podway_router *)&broken);
    CHECK(text == (podway_text *)&broken && number == 7 && listener == 7);
    /* Reading and freeing nothing is fine. */
    CHECK(podway_error_message(NULL).ptr == NULL && podway_error_line(NULL) == 0);
    CHECK(podway_error_code(NULL).ptr == NULL && podway_error_file(NULL).ptr == NULL);
    CHECK(podway_error_json(NULL).ptr == NULL && podway_error_column(NULL) == 0);
    CHECK(podway_text_view(NULL).ptr == NULL && podway_probes_count(NULL) == 0);
    CHECK(podway_output_location(NULL).ptr == NULL && podway_output_set_cookie(NULL, 0).ptr == NULL);
    CHECK(podway_output_body(NULL).ptr == NULL && podway_output_content_type(NULL).ptr == NULL);
    CHECK(podway_output_uri(NULL).ptr == NULL && podway_output_host(NULL).ptr == NULL);
    podway_model_free(NULL);
    podway_router_free(NULL);
    podway_output_free(NULL);
    podway_probes_free(NULL);
    podway_text_free(NULL);
    podway_error_free(NULL);
}

/* `latin` is a file that is not UTF-8. */
static void bad_input(const char *latin) {
    podway_model *model = NULL;
    podway_error *error = NULL;
    podway_str not_utf8 = {(const uint8_t *)"\xff\xfe", 2};
    podway_str null_and_long = {NULL, 5};
    podway_str endless = {(const uint8_t *)"x", (size_t)-1};
    CHECK(podway_model_from_json(not_utf8, &model, NULL) == PODWAY_STATUS_UTF8);
    CHECK(podway_model_from_json(null_and_long, &model, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_model_from_json(endless, &model, NULL) == PODWAY_STATUS_ARGUMENT);
    CHECK(podway_model_from_json(view("{\n  \"LoadBalancers\": 7}"), &model, &error) == PODWAY_STATUS_INPUT);
    CHECK(says(podway_error_code(error), "E_OBJECT"));
    CHECK(says(podway_error_file(error), "model"));
    CHECK(podway_error_line(error) == 2 && podway_error_column(error) > 1);
    podway_error_free(error);
    podway_source source = {view("bad.yml"), view("kind: Ingress\nmetadata: [\n")};
    CHECK(podway_model_read(&source, 1, NULL, &model, &error) == PODWAY_STATUS_INPUT);
    CHECK(says(podway_error_file(error), "bad.yml"));
    podway_error_free(error);
    podway_settings settings = {0};
    CHECK(podway_model_read(&source, 1, &settings, &model, NULL) == PODWAY_STATUS_STRUCT_SIZE);
    settings.struct_size = sizeof settings;
    settings.controller = view("{\"default_target_typ\": \"ip\"}");
    CHECK(podway_model_read(&source, 1, &settings, &model, &error) == PODWAY_STATUS_ARGUMENT);
    CHECK(says(podway_error_code(error), "E_ARGUMENT") && says(podway_error_file(error), "settings"));
    podway_error_free(error);
    podway_str missing = view("no/such/folder");
    CHECK(podway_model_load(&missing, 1, NULL, &model, &error) == PODWAY_STATUS_INPUT);
    CHECK(says(podway_error_code(error), "E_READ"));
    podway_error_free(error);
    podway_str file = view(latin);
    CHECK(podway_model_load(&file, 1, NULL, &model, &error) == PODWAY_STATUS_INPUT);
    CHECK(says(podway_error_code(error), "E_READ"));
    podway_error_free(error);
    CHECK(podway_model_load(NULL, 0, NULL, &model, NULL) < 0);
    /* A deep and a large document. */
    char *deep = malloc(200001);
    if (deep == NULL) exit(2);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    CHECK(podway_model_from_json(view(deep), &model, NULL) == PODWAY_STATUS_INPUT);
    free(deep);
    CHECK(model == NULL);
    podway_address address;
    CHECK(podway_address_parse(view("10.0.0.1"), &address) == PODWAY_STATUS_ARGUMENT);
    CHECK(podway_address_parse(view("[2001:db8::1]:443"), &address) == PODWAY_STATUS_OK);
    CHECK(address.family == 6 && address.port == 443 && address.ip[0] == 0x20 && address.ip[15] == 1);
    CHECK(podway_type_name(99).ptr == NULL && podway_reason_name(-1).ptr == NULL);
    CHECK(podway_stickiness_name(99).ptr == NULL && podway_authenticate_name(0).ptr == NULL);
}

static podway_request get(const char *target) {
    podway_request request = {0};
    request.struct_size = sizeof request;
    request.method = view("GET");
    request.target = view(target);
    request.host = view("example.com");
    CHECK(podway_address_parse(view("192.0.2.1:4000"), &request.peer) == PODWAY_STATUS_OK);
    return request;
}

static void operating(podway_router *router, uint32_t listener, podway_output *output, uint64_t target) {
    podway_text *text = NULL;
    podway_request request = get("/x");
    podway_decision first = {0}, second = {0};
    podway_str not_utf8 = {(const uint8_t *)"\xff", 1}, null_and_long = {NULL, 5};
    uint32_t group = 99;
    first.struct_size = sizeof first;
    CHECK(podway_router_find_target_group(router, view("nobody"), &group) == PODWAY_STATUS_NOT_FOUND && group == 99);
    CHECK(podway_router_find_target_group(router, not_utf8, &group) == PODWAY_STATUS_UTF8);
    CHECK(podway_router_find_target_group(router, view("app"), NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_find_target_group(router, view("app"), &group) == PODWAY_STATUS_OK);
    CHECK(podway_router_find_target_group(router, view("arn:tg"), &group) == PODWAY_STATUS_OK);
    CHECK(podway_router_target_groups(router, &text) == PODWAY_STATUS_OK);
    char told[] = "[{\"id\":0,\"name\":\"app\",\"arn\":\"arn:tg\",\"service\":null}]";
    told[7] = (char)('0' + group);
    CHECK(group < 10 && says(podway_text_view(text), told));
    podway_text_free(text);
    CHECK(podway_router_zone_health(router, group, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_zone_health(router, 4711, &text) == PODWAY_STATUS_OK && says(podway_text_view(text), "[]"));
    podway_text_free(text);
    CHECK(podway_router_zone_health(router, group, &text) == PODWAY_STATUS_OK);
    const char zone[] = "[{\"zone\":null,\"registered\":";
    CHECK(podway_text_view(text).len > 100 && memcmp(podway_text_view(text).ptr, zone, sizeof zone - 1) == 0);
    podway_text_free(text);
    CHECK(podway_router_header_names(router, &text) == PODWAY_STATUS_OK && says(podway_text_view(text), "[]"));
    podway_text_free(text);
    CHECK(podway_router_why_unsticky(router, listener, &request, NULL, 0, NOW, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_why_unsticky(router, listener, NULL, NULL, 0, NOW, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_why_unsticky(router, listener, &request, NULL, 1, NOW, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_why_unsticky(router, listener, &request, &null_and_long, 1, NOW, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_why_unsticky(router, listener, &request, &not_utf8, 1, NOW, &text) == PODWAY_STATUS_UTF8);
    CHECK(podway_router_why_unsticky(router, listener, &request, NULL, 0, NOW, &text) == PODWAY_STATUS_OK);
    CHECK(podway_text_view(text).len > 50);
    podway_text_free(text);

    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &first) == PODWAY_STATUS_OK);
    CHECK(first.target == target);
    CHECK(podway_router_retry(router, listener, &request, &first, NOW, 0, output, &second) ==
          PODWAY_STATUS_STRUCT_SIZE);
    second.struct_size = sizeof second;
    CHECK(podway_router_retry(router, listener, NULL, &first, NOW, 0, output, &second) == PODWAY_STATUS_NULL);
    CHECK(podway_router_retry(router, listener, &request, NULL, NOW, 0, output, &second) == PODWAY_STATUS_NULL);
    CHECK(podway_router_retry(router, listener, &request, &first, NOW, 0, NULL, &second) == PODWAY_STATUS_NULL);
    CHECK(podway_router_retry(router, listener, &request, &first, NOW, 0, output, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_retry(router, listener, &request, &second, NOW, 0, output, &second) ==
          PODWAY_STATUS_ARGUMENT);
    CHECK(podway_router_retry(router, listener, &request, &first, NOW, 0, output, &second) ==
          PODWAY_STATUS_NOT_FOUND);
    CHECK(second.type == 0);
    CHECK(podway_router_report(router, &first, PODWAY_OUTCOME_CANCELLED, 0, NOW) == PODWAY_STATUS_OK);
    CHECK(podway_router_app_cookie(router, &first, &request, NULL, 1, NOW, 0, output) == PODWAY_STATUS_NULL);
    CHECK(podway_router_app_cookie(router, &first, &request, &null_and_long, 1, NOW, 0, output) ==
          PODWAY_STATUS_NULL);
    CHECK(podway_router_app_cookie(router, &first, &request, &not_utf8, 1, NOW, 0, output) == PODWAY_STATUS_OK);
}

/* What nobody sends: bytes of every kind, a path and header lines of a megabyte. */
static void hostile(podway_router *router, uint32_t listener, podway_output *output) {
    enum { HUGE_SIZE = 1 << 20, LINES = 10000 };
    char *bytes = malloc(HUGE_SIZE);
    podway_header *headers = malloc(LINES * sizeof *headers);
    if (bytes == NULL || headers == NULL) exit(2);
    for (size_t i = 0; i < HUGE_SIZE; i++) bytes[i] = (char)(i * 31);
    bytes[0] = '/';
    podway_str huge = {(const uint8_t *)bytes, HUGE_SIZE};
    for (size_t i = 0; i < LINES; i++) headers[i].name = headers[i].value = huge;
    podway_request request = get("/");
    podway_decision decision = {0};
    decision.struct_size = sizeof decision;
    request.target = request.host = request.method = huge;
    request.headers = headers;
    request.header_count = LINES;
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_OK);
    CHECK(decision.type == PODWAY_TYPE_FORWARD || decision.type == PODWAY_TYPE_ERROR);
    if (decision.type == PODWAY_TYPE_FORWARD)
        CHECK(podway_router_report(router, &decision, PODWAY_OUTCOME_CLOSED, 0, NOW) == PODWAY_STATUS_OK);
    request.header_count = (size_t)-1;
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_ARGUMENT);
    free(headers);
    free(bytes);
}

static void routing(void) {
    podway_model *model = NULL;
    podway_router *router = NULL;
    podway_error *error = NULL;
    podway_text *text = NULL;
    podway_output *output = podway_output_new();
    uint8_t secret[32] = {1};
    podway_str key = {secret, sizeof secret}, short_key = {secret, 31};
    CHECK(podway_model_from_json(view(MODEL), &model, &error) == PODWAY_STATUS_OK && error == NULL);
    CHECK(podway_router_new(model, NOTHING, short_key, NOW, &router, &error) == PODWAY_STATUS_ARGUMENT);
    CHECK(says(podway_error_code(error), "E_COOKIE_KEY"));
    podway_error_free(error);
    CHECK(podway_router_new(model, view("{\"strikt\":1}"), key, NOW, &router, &error) == PODWAY_STATUS_ARGUMENT);
    CHECK(says(podway_error_file(error), "options"));
    podway_error_free(error);
    error = NULL;
    CHECK(podway_router_new(model, NOTHING, key, NOW, &router, &error) == PODWAY_STATUS_OK && error == NULL);

    uint32_t listener = 99;
    CHECK(podway_router_listener(router, view("web"), 81, &listener) == PODWAY_STATUS_NOT_FOUND);
    CHECK(podway_router_listener(router, view("web"), 80, &listener) == PODWAY_STATUS_OK);

    podway_request request = get("/x");
    podway_decision decision = {0};
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) ==
          PODWAY_STATUS_STRUCT_SIZE);
    decision.struct_size = sizeof decision;
    CHECK(podway_router_decide(router, listener, NULL, NOW, 0, output, &decision) == PODWAY_STATUS_NULL);
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, NULL, &decision) == PODWAY_STATUS_NULL);
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, NULL) == PODWAY_STATUS_NULL);
    request.header_count = 1;
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_NULL);
    podway_header header = {{NULL, 3}, {NULL, 0}};
    request.headers = &header;
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_NULL);
    /* An absent text is an empty one, beside others that are checked all the same. */
    podway_header lines[] = {{view("a"), view("b")}, {{NULL, 0}, view("c")}, {view("d"), {NULL, 0}}};
    request = get("/x");
    request.headers = lines;
    request.header_count = 3;
    request.host = (podway_str){NULL, 0};
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_OK);
    CHECK(podway_router_report(router, &decision, PODWAY_OUTCOME_CANCELLED, 0, NOW) == PODWAY_STATUS_OK);
    decision.type = 0;
    lines[2].value.len = 1;
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_NULL);
    lines[2].value = view("e");
    lines[0].value.len = (size_t)-1;
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_ARGUMENT);
    request = get("/x");
    request.target.len = (size_t)-1;
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_ARGUMENT);
    request = get("/x");
    request.peer.family = 5;
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_ARGUMENT);
    CHECK(decision.type == 0);

    request = get("/x");
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &decision) == PODWAY_STATUS_OK);
    CHECK(decision.type == PODWAY_TYPE_FORWARD && decision.matched == PODWAY_MATCHED_DEFAULT);
    CHECK(decision.address.family == 4 && decision.address.port == 8080 && decision.address.ip[3] == 1);
    CHECK(podway_router_target_name(router, decision.target, &text) == PODWAY_STATUS_OK);
    CHECK(says(podway_text_view(text), "10.0.0.1:8080"));
    podway_text_free(text);
    CHECK(podway_router_authentication(router, listener, &decision, &text) == PODWAY_STATUS_NOT_FOUND);
    CHECK(podway_router_report(router, &decision, 0, 200, NOW) == PODWAY_STATUS_ARGUMENT);
    CHECK(podway_router_report(router, &decision, PODWAY_OUTCOME_RESPONSE, 200, NOW) == PODWAY_STATUS_OK);
    /* Twice is counted, not believed; an invented decision is refused. */
    CHECK(podway_router_report(router, &decision, PODWAY_OUTCOME_RESPONSE, 200, NOW) == PODWAY_STATUS_OK);
    decision.type = 77;
    CHECK(podway_router_report(router, &decision, PODWAY_OUTCOME_RESPONSE, 200, NOW) == PODWAY_STATUS_ARGUMENT);
    CHECK(podway_router_describe(router, &decision, output, &text) == PODWAY_STATUS_ARGUMENT);

    /* A struct of a later version is larger; the part we know is used. */
    struct {
        podway_decision decision;
        char later[64];
    } large;
    memset(&large, 0x5a, sizeof large);
    large.decision.struct_size = sizeof large;
    request = get("/hello");
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &large.decision) == PODWAY_STATUS_OK);
    CHECK(large.decision.struct_size == sizeof large && large.later[0] == 0x5a);
    CHECK(large.decision.type == PODWAY_TYPE_FIXED_RESPONSE && large.decision.status == 200);
    CHECK(large.decision.matched == PODWAY_MATCHED_RULE && large.decision.priority == 5);
    CHECK(says(podway_output_body(output), "hello") && says(podway_output_content_type(output), "text/plain"));
    CHECK(podway_output_location(output).ptr == NULL && podway_output_set_cookie(output, 0).ptr == NULL);

    CHECK(podway_router_decide(router, 4711, &request, NOW, 0, output, &large.decision) == PODWAY_STATUS_OK);
    CHECK(large.decision.type == PODWAY_TYPE_ERROR && large.decision.reason == PODWAY_REASON_NO_LISTENER);

    uint64_t target = 0;
    CHECK(podway_router_find_target(router, view("app"), view("10.0.0.9:1"), &target) == PODWAY_STATUS_NOT_FOUND);
    CHECK(podway_router_find_target(router, view("app"), view("10.0.0.1:8080"), &target) == PODWAY_STATUS_OK);
    CHECK(podway_router_set_target_health(router, target, view("ill"), NOW, &error) == PODWAY_STATUS_ARGUMENT);
    podway_error_free(error);
    CHECK(podway_router_set_target_health(router, 4711, view("healthy"), NOW, NULL) == PODWAY_STATUS_NOT_FOUND);
    CHECK(podway_router_report_probe(router, target, 9, 0, NOW) == PODWAY_STATUS_ARGUMENT);
    CHECK(podway_router_report_probe(router, 4711, PODWAY_PROBE_FAILED, 0, NOW) == PODWAY_STATUS_OK);
    CHECK(podway_router_set_cookie_keys(router, NULL, 0, NULL) == PODWAY_STATUS_ARGUMENT);
    CHECK(podway_router_set_cookie_keys(router, &key, 1, NULL) == PODWAY_STATUS_OK);

    /* A failed reload leaves everything as it was; a model may be freed once the router has it. */
    podway_model *wrong = NULL;
    static const char TWICE[] =
        "{\"LoadBalancers\":[{\"LoadBalancerArn\":\"arn:lb\",\"LoadBalancerName\":\"web\",\"Listeners\":[{"
        "\"ListenerArn\":\"arn:l\",\"Port\":80,\"Protocol\":\"HTTP\",\"DefaultActions\":[{\"Type\":\"forward\","
        "\"TargetGroupArn\":\"arn:none\"}]}]}],\"TargetGroups\":[]}";
    CHECK(podway_model_from_json(view(TWICE), &wrong, NULL) == PODWAY_STATUS_OK);
    error = NULL;
    if (podway_router_reload(router, wrong, NOW, &error) != PODWAY_STATUS_OK) {
        CHECK(podway_error_message(error).len > 0);
        podway_error_free(error);
    }
    podway_model_free(wrong);
    CHECK(podway_router_reload(router, model, NOW, NULL) == PODWAY_STATUS_OK);
    CHECK(podway_model_to_json(model, &text) == PODWAY_STATUS_OK && podway_text_view(text).len > 100);
    podway_text_free(text);
    CHECK(podway_model_diagnostics(model, &text) == PODWAY_STATUS_OK && says(podway_text_view(text), "[]"));
    podway_text_free(text);
    CHECK(podway_model_validate(model, view("{\"strikt\":1}"), &text, &error) == PODWAY_STATUS_ARGUMENT);
    podway_error_free(error);
    CHECK(podway_model_validate(model, NOTHING, NULL, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_model_validate(model, NOTHING, &text, NULL) == PODWAY_STATUS_OK);
    CHECK(podway_text_view(text).len >= 2 && podway_text_view(text).ptr[0] == '[');
    podway_text_free(text);
    podway_model_free(model);
    request = get("/hello");
    CHECK(podway_router_decide(router, listener, &request, NOW, 0, output, &large.decision) == PODWAY_STATUS_OK);
    CHECK(large.decision.type == PODWAY_TYPE_FIXED_RESPONSE);
    CHECK(podway_router_listeners(router, &text) == PODWAY_STATUS_OK);
    podway_text_free(text);
    CHECK(podway_router_events(router, &text) == PODWAY_STATUS_OK);
    podway_text_free(text);

    CHECK(podway_router_late_reports(router) == 1);

    /* What an operator asks. */
    request = get("/hello");
    CHECK(podway_router_explain(router, listener, &request, NOW, 0, output, &text) == PODWAY_STATUS_OK);
    podway_str why = podway_text_view(text);
    CHECK(why.len > 100 && memcmp(why.ptr, "{\"Decision\":{", 13) == 0);
    podway_text_free(text);
    CHECK(podway_router_explain(router, listener, NULL, NOW, 0, output, &text) == PODWAY_STATUS_NULL);
    CHECK(podway_router_hop(router, target, request.peer, NOW, 0, &text) == PODWAY_STATUS_NOT_FOUND);
    CHECK(podway_router_start_zonal_shift(router, view("nobody"), view("a"), NOW, NULL) == PODWAY_STATUS_NOT_FOUND);
    CHECK(podway_router_start_zonal_shift(router, view("web"), view("a"), NOW, &error) < 0);
    CHECK(says(podway_error_code(error), "OperationNotPermitted"));
    podway_error_free(error);
    CHECK(podway_router_cancel_zonal_shift(router, view("web"), NOW, NULL) == PODWAY_STATUS_OK);

    operating(router, listener, output, target);
    hostile(router, listener, output);

    /* Probes. */
    podway_probes *probes = podway_probes_new();
    podway_probe probe = {0};
    podway_now later = {600000, 1767226200};
    uint64_t next = 0;
    CHECK(podway_router_poll(router, later, probes, NULL) == PODWAY_STATUS_NULL);
    CHECK(podway_router_poll(router, later, probes, &next) == PODWAY_STATUS_OK && next > 0);
    CHECK(podway_probes_count(probes) == 1);
    CHECK(podway_probes_get(probes, 0, &probe) == PODWAY_STATUS_STRUCT_SIZE);
    probe.struct_size = sizeof probe;
    CHECK(podway_probes_get(probes, 1, &probe) == PODWAY_STATUS_NOT_FOUND);
    CHECK(podway_probes_get(probes, 0, &probe) == PODWAY_STATUS_OK);
    CHECK(probe.protocol == PODWAY_PROTOCOL_HTTP && probe.protocol_version == PODWAY_PROTOCOL_VERSION_HTTP1);
    CHECK(says(probe.path, "/") && probe.timeout_ms == 5000 && probe.address.port == 8080);
    CHECK(podway_router_report_probe(router, probe.target, PODWAY_PROBE_INTERNAL_ERROR, 0, later) == PODWAY_STATUS_OK);
    podway_probes_free(probes);
    podway_output_free(output);
    podway_router_free(router);
}

/* Moments that cannot be put off any further: nothing fails, and nothing waits for ever. */
static void end_of_time(void) {
    static const char THREE[] =
        "{\"LoadBalancers\":[],\"TargetGroups\":[{\"TargetGroupArn\":\"arn:tg\",\"TargetGroupName\":\"app\","
        "\"TargetType\":\"ip\",\"TargetHealthDescriptions\":[{\"Target\":{\"Id\":\"10.0.0.1\",\"Port\":80}},"
        "{\"Target\":{\"Id\":\"10.0.0.2\",\"Port\":80}},{\"Target\":{\"Id\":\"10.0.0.3\",\"Port\":80}}]}]}";
    const podway_now moments[] = {NOW, {UINT64_MAX - 1, UINT64_MAX}, {UINT64_MAX, UINT64_MAX}};
    uint8_t secret[32] = {1};
    podway_str key = {secret, sizeof secret};
    podway_model *model = NULL;
    podway_probes *probes = podway_probes_new();
    CHECK(podway_model_from_json(view(THREE), &model, NULL) == PODWAY_STATUS_OK);
    for (size_t made = 0; made < 3; made++) {
        podway_router *router = NULL;
        uint64_t next = 0, target = 0;
        CHECK(podway_router_new(model, NOTHING, key, moments[made], &router, NULL) == PODWAY_STATUS_OK);
        for (size_t i = 0; i < 6; i++) {
            podway_now now = moments[i % 3];
            CHECK(podway_router_poll(router, now, probes, &next) == PODWAY_STATUS_OK);
            CHECK(podway_router_find_target(router, view("app"), view("10.0.0.1:80"), &target) == PODWAY_STATUS_OK);
            CHECK(podway_router_report_probe(router, target, PODWAY_PROBE_STATUS, 200, now) == PODWAY_STATUS_OK);
            CHECK(podway_router_reload(router, model, now, NULL) == PODWAY_STATUS_OK);
        }
        podway_router_free(router);
    }
    podway_probes_free(probes);
    podway_model_free(model);
}

int main(int argc, char **argv) {
    versions();
    nulls();
    bad_input(argc > 1 ? argv[1] : "");
    routing();
    end_of_time();
    printf("abi.c: %d promises %s\n", checked, broken ? "checked, some broken" : "hold");
    return broken;
}
