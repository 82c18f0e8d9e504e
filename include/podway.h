/*
 * podway: the routing brain of an AWS Application Load Balancer.
 *
 * Build:  cargo rustc -p podway --lib --release --features capi --crate-type cdylib,staticlib
 * Link:   -lpodway, or libpodway.a with -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc on Linux
 *
 * - A call that can fail returns a podway_status: PODWAY_STATUS_OK is zero, failures are negative.
 * - What an out-parameter points at is written on success only, `error` on failure only; `error` may be NULL.
 * - Handles (podway_model, podway_router, podway_output, podway_probes, podway_text, podway_error) are made
 *   by the library and freed by the caller with the function of their name, once. Freeing NULL is fine.
 * - podway_str is a view of bytes, not NUL-terminated. Views that go in are read during the call only.
 * - A struct that starts with struct_size is passed by pointer; set it to sizeof of the struct.
 * - What is `const` may be used from many threads at once; each function says the rest.
 * - NULL where it is not allowed, wrong numbers and text that is not UTF-8 are a status, never a crash. A
 *   pointer that was freed, or that is not one of the library's, cannot be told apart from a good one.
 */


#ifndef PODWAY_H
#define PODWAY_H

/* Generated from core/src/capi by tests/header.rs; do not edit. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define PODWAY_VERSION "0.1.0"
#define PODWAY_VERSION_MAJOR 0
#define PODWAY_VERSION_MINOR 1
#define PODWAY_VERSION_PATCH 0


/*
 The number of this ABI, which is also in the shared library's name. A program runs with every library of
 the number it was compiled for that is not older than its header.

 It rises when a compiled program would notice a change: a function goes away or changes its parameters or
 what it promises, a struct changes at all (also where it grows: a shorter struct_size is refused), a
 constant changes its value. It stays for new functions, for new constants, also where a call may give
 them back, and for new keys in JSON.
 */
#define PODWAY_ABI_VERSION 1

/*
 The request never got to the rules.
 */
#define PODWAY_MATCHED_NONE 0

/*
 A rule with a number matched.
 */
#define PODWAY_MATCHED_RULE 1

/*
 No rule matched: the default actions hold.
 */
#define PODWAY_MATCHED_DEFAULT 2

/*
 Send the request to `address`; owes one podway_router_report.
 */
#define PODWAY_TYPE_FORWARD 1

/*
 Answer with `status` and podway_output_location.
 */
#define PODWAY_TYPE_REDIRECT 2

/*
 Answer with `status`, podway_output_body and podway_output_content_type.
 */
#define PODWAY_TYPE_FIXED_RESPONSE 3

/*
 Answer with `status`, for `reason`.
 */
#define PODWAY_TYPE_ERROR 4

/*
 There is no error.
 */
#define PODWAY_REASON_NONE 0

/*
 The listener id is unknown, or its listener was removed.
 */
#define PODWAY_REASON_NO_LISTENER 1

/*
 The path climbs above the root, or is not a path.
 */
#define PODWAY_REASON_BAD_URI 2

/*
 The method is TRACE.
 */
#define PODWAY_REASON_METHOD_NOT_ALLOWED 3

/*
 The target group has no target that may be chosen.
 */
#define PODWAY_REASON_NO_TARGET 4

/*
 Every weight of the forward is zero.
 */
#define PODWAY_REASON_ZERO_WEIGHT 5

/*
 The group cookie cannot be read.
 */
#define PODWAY_REASON_GROUP_COOKIE_INVALID 6

/*
 The Location would be too long.
 */
#define PODWAY_REASON_LOCATION_TOO_LONG 7

/*
 A transform's result is not a path.
 */
#define PODWAY_REASON_TRANSFORM_INVALID_PATH 8

/*
 A transform's result is not a host.
 */
#define PODWAY_REASON_TRANSFORM_INVALID_HOST 9

/*
 A transform's result is too long.
 */
#define PODWAY_REASON_TRANSFORM_BUFFER_TOO_SMALL 10

/*
 The body of a fixed response is longer than an output holds.
 */
#define PODWAY_REASON_BODY_TOO_LONG 11

/*
 A transform's replacement names a group that its regex does not have.
 */
#define PODWAY_REASON_TRANSFORM_REPLACE_ERROR 12

/*
 Nothing has to succeed first.
 */
#define PODWAY_AUTHENTICATE_NONE 0

/*
 OpenID Connect.
 */
#define PODWAY_AUTHENTICATE_OIDC 1

/*
 Cognito.
 */
#define PODWAY_AUTHENTICATE_COGNITO 2

/*
 A bearer token.
 */
#define PODWAY_AUTHENTICATE_JWT 3

/*
 Stickiness is off.
 */
#define PODWAY_STICKINESS_OFF 0

/*
 The request had no cookie of ours.
 */
#define PODWAY_STICKINESS_NEW 1

/*
 The cookie named this target.
 */
#define PODWAY_STICKINESS_KEPT 2

/*
 The cookie is not ours, forged, or cut.
 */
#define PODWAY_STICKINESS_INVALID 3

/*
 The cookie was sealed with a key the router does not have.
 */
#define PODWAY_STICKINESS_UNKNOWN_KEY 4

/*
 The cookie is older than the configured duration.
 */
#define PODWAY_STICKINESS_EXPIRED 5

/*
 The cookie's target is not registered any more.
 */
#define PODWAY_STICKINESS_TARGET_GONE 6

/*
 The cookie's target is unhealthy.
 */
#define PODWAY_STICKINESS_TARGET_UNHEALTHY 7

/*
 The cookie's target is draining.
 */
#define PODWAY_STICKINESS_TARGET_DRAINING 8

/*
 The application's own cookie did not come back with ours.
 */
#define PODWAY_STICKINESS_NO_APPLICATION_COOKIE 9

/*
 The cookie's target belongs to another group.
 */
#define PODWAY_STICKINESS_OTHER_GROUP 10

/*
 The cookie's target is in a zone that gets no requests from here.
 */
#define PODWAY_STICKINESS_TARGET_ZONE 11

/*
 The target answered with a status.
 */
#define PODWAY_OUTCOME_RESPONSE 1

/*
 The connection was refused, reset or could not be made.
 */
#define PODWAY_OUTCOME_CONNECT_FAILED 2

/*
 The target took too long.
 */
#define PODWAY_OUTCOME_TIMED_OUT 3

/*
 The target closed while the request was outstanding.
 */
#define PODWAY_OUTCOME_CLOSED 4

/*
 The request never reached the target.
 */
#define PODWAY_OUTCOME_CANCELLED 5

/*
 Check over HTTP.
 */
#define PODWAY_PROTOCOL_HTTP 1

/*
 Check over HTTPS; the certificate is never verified.
 */
#define PODWAY_PROTOCOL_HTTPS 2

/*
 HTTP/1.1.
 */
#define PODWAY_PROTOCOL_VERSION_HTTP1 1

/*
 HTTP/2.
 */
#define PODWAY_PROTOCOL_VERSION_HTTP2 2

/*
 gRPC.
 */
#define PODWAY_PROTOCOL_VERSION_GRPC 3

/*
 The target answered with a status.
 */
#define PODWAY_PROBE_STATUS 1

/*
 There was no answer in time.
 */
#define PODWAY_PROBE_TIMED_OUT 2

/*
 There was no connection, or a malformed answer.
 */
#define PODWAY_PROBE_FAILED 3

/*
 The check could not be made, by no fault of the target.
 */
#define PODWAY_PROBE_INTERNAL_ERROR 4

/*
 How a call ended: zero is success, failures are negative.
 */
enum podway_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /*
     The call did what it says.
     */
    PODWAY_STATUS_OK = 0,
    /*
     A pointer that must not be NULL is NULL.
     */
    PODWAY_STATUS_NULL = -1,
    /*
     A number, a name or a key is outside its range.
     */
    PODWAY_STATUS_ARGUMENT = -2,
    /*
     Text is not UTF-8 where it must be.
     */
    PODWAY_STATUS_UTF8 = -3,
    /*
     A struct is smaller than this library knows it: `struct_size` was not set.
     */
    PODWAY_STATUS_STRUCT_SIZE = -4,
    /*
     A file could not be read, or its text is not YAML or JSON of the expected shape.
     */
    PODWAY_STATUS_INPUT = -5,
    /*
     The AWS Load Balancer Controller would refuse the manifests.
     */
    PODWAY_STATUS_MANIFEST = -6,
    /*
     The ELBv2 API would refuse the model.
     */
    PODWAY_STATUS_MODEL = -7,
    /*
     There is nothing of this name or id.
     */
    PODWAY_STATUS_NOT_FOUND = -8,
    /*
     A defect of this library; the call had no effect that can be relied on, the handles stay usable.
     */
    PODWAY_STATUS_INTERNAL = -99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum podway_status podway_status;
#else
typedef int32_t podway_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 Why a call failed. Freed by the caller with podway_error_free.
 */
typedef struct podway_error podway_error;

/*
 Load balancers with their rules, target groups and targets. Immutable.
 */
typedef struct podway_model podway_model;

/*
 The buffer that a decision's text is written into. Made once, used for any number of decisions, one
 at a time: every decision forgets the text of the one before.
 */
typedef struct podway_output podway_output;

/*
 The probes of one poll. Made once, used for any number of polls.
 */
typedef struct podway_probes podway_probes;

/*
 A compiled model with the state of its targets.

 A `const podway_router *` may be used from many threads at once, also while another one reloads it;
 only podway_router_free needs the router for itself.
 */
typedef struct podway_router podway_router;

/*
 Text that the library made and the caller frees with podway_text_free.
 */
typedef struct podway_text podway_text;

/*
 A view of bytes: not NUL-terminated, not owned. With `len` 0 `ptr` may be NULL.
 */
typedef struct podway_str {
    /*
     The first byte.
     */
    const uint8_t *ptr;
    /*
     How many bytes.
     */
    size_t len;
} podway_str;

/*
 How manifests become a model. All zero but `struct_size` means the defaults.
 */
typedef struct podway_settings {
    /*
     sizeof(podway_settings).
     */
    size_t struct_size;
    /*
     The cluster's name, which goes into names; `local` where it is empty.
     */
    struct podway_str cluster_name;
    /*
     How many nodes are made up where the manifests have none; 0 means 3.
     */
    uint32_t nodes;
    /*
     1 leaves out members of a group that the controller would refuse, instead of failing.
     */
    uint32_t skip_broken;
    /*
     The controller's flags and gates as a JSON object, such as {"default_target_type": "ip"}: the fields of
     Settings in the Rust documentation; empty for the defaults.
     */
    struct podway_str controller;
} podway_settings;

/*
 A manifest as text.
 */
typedef struct podway_source {
    /*
     What errors call it: a file name.
     */
    struct podway_str name;
    /*
     YAML or JSON, one or many documents.
     */
    struct podway_str text;
} podway_source;

/*
 An IP address with a port.
 */
typedef struct podway_address {
    /*
     The address in network order; IPv4 uses the first four bytes.
     */
    uint8_t ip[16];
    /*
     The port, in the machine's own order.
     */
    uint16_t port;
    /*
     4 or 6; 0 where there is no address.
     */
    uint8_t family;
} podway_address;

/*
 A moment, as the caller sees it: the library reads no clock.
 */
typedef struct podway_now {
    /*
     Milliseconds on a monotonic clock of the caller's choice.
     */
    uint64_t mono_ms;
    /*
     Seconds since 1970-01-01T00:00:00Z.
     */
    uint64_t unix_s;
} podway_now;

/*
 A header line.
 */
typedef struct podway_header {
    /*
     The name, in any case.
     */
    struct podway_str name;
    /*
     The value.
     */
    struct podway_str value;
} podway_header;

/*
 A request. All bytes are taken as received; they need not be UTF-8.
 */
typedef struct podway_request {
    /*
     sizeof(podway_request).
     */
    size_t struct_size;
    /*
     For example GET.
     */
    struct podway_str method;
    /*
     The request target: /path?query, http://host/path?query, or *.
     */
    struct podway_str target;
    /*
     The Host header or :authority. With a NULL `ptr` the first `host` among the headers counts.
     */
    struct podway_str host;
    /*
     The header lines in the order received.
     */
    const struct podway_header *headers;
    /*
     How many.
     */
    size_t header_count;
    /*
     The TCP peer of the load balancer.
     */
    struct podway_address peer;
} podway_request;

/*
 A decision: numbers only, to be kept until it is reported. Its text is in the podway_output.
 */
typedef struct podway_decision {
    /*
     sizeof(podway_decision), set by the caller.
     */
    size_t struct_size;
    /*
     A PODWAY_TYPE_* constant.
     */
    int32_t type;
    /*
     A PODWAY_REASON_* constant.
     */
    int32_t reason;
    /*
     A PODWAY_AUTHENTICATE_* constant: what has to succeed before the rest holds.
     */
    int32_t authenticate;
    /*
     A PODWAY_STICKINESS_* constant.
     */
    int32_t stickiness;
    /*
     The target's id, of a forward.
     */
    uint64_t target;
    /*
     The target group's id, of a forward.
     */
    uint32_t target_group;
    /*
     The number of the rule, where `matched` is PODWAY_MATCHED_RULE.
     */
    uint32_t priority;
    /*
     The status to answer with; 0 for a forward.
     */
    uint16_t status;
    /*
     A PODWAY_MATCHED_* constant.
     */
    uint8_t matched;
    /*
     1 where too few targets were healthy, so that all of them were candidates.
     */
    uint8_t fail_open;
    /*
     Where to connect to, of a forward.
     */
    struct podway_address address;
} podway_decision;

/*
 A health check that is due.
 */
typedef struct podway_probe {
    /*
     sizeof(podway_probe), set by the caller.
     */
    size_t struct_size;
    /*
     For podway_router_report_probe.
     */
    uint64_t target;
    /*
     Milliseconds for the whole check.
     */
    uint64_t timeout_ms;
    /*
     Path and query.
     */
    struct podway_str path;
    /*
     The Host header.
     */
    struct podway_str host;
    /*
     Where to connect to.
     */
    struct podway_address address;
    /*
     A PODWAY_PROTOCOL_* constant.
     */
    int32_t protocol;
    /*
     A PODWAY_PROTOCOL_VERSION_* constant.
     */
    int32_t protocol_version;
} podway_probe;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The ABI version of the library that is linked: PODWAY_ABI_VERSION of the header it was built with.

 May be called from any thread.
 */
uint32_t podway_abi_version(void);

/*
 The version of the library that is linked, as text. Never freed.

 May be called from any thread.
 */
struct podway_str podway_version(void);

/*
 What the text says, in UTF-8. Valid until the text is freed.

 `text` may be NULL (the view is empty then) and may be read from many threads at once.
 */
struct podway_str podway_text_view(const struct podway_text *text);

/*
 Frees a text. NULL is fine. No other call may use the text meanwhile or afterwards.
 */
void podway_text_free(struct podway_text *text);

/*
 The problems in words, one line each. Valid until the error is freed.

 `error` may be NULL (the view is empty then) and may be read from many threads at once.
 */
struct podway_str podway_error_message(const struct podway_error *error);

/*
 The stable code of the first problem, for example E_CIDR. Valid until the error is freed.

 `error` may be NULL (the view is empty then) and may be read from many threads at once.
 */
struct podway_str podway_error_code(const struct podway_error *error);

/*
 The file of the first problem, as the caller named it; NULL where no file is concerned. Valid until
 the error is freed.

 `error` may be NULL (the view is empty then) and may be read from many threads at once.
 */
struct podway_str podway_error_file(const struct podway_error *error);

/*
 The line of the first problem, from 1; 0 where no file is concerned.

 `error` may be NULL and may be read from many threads at once.
 */
uint32_t podway_error_line(const struct podway_error *error);

/*
 The column of the first problem, from 1; 0 where no file is concerned.

 `error` may be NULL and may be read from many threads at once.
 */
uint32_t podway_error_column(const struct podway_error *error);

/*
 All problems as a JSON array of {Severity, Code, Message, Object, File, Line, Column, ...}. Valid until
 the error is freed.

 `error` may be NULL (the view is empty then) and may be read from many threads at once.
 */
struct podway_str podway_error_json(const struct podway_error *error);

/*
 Frees an error. NULL is fine. No other call may use the error meanwhile or afterwards.
 */
void podway_error_free(struct podway_error *error);

/*
 Loads manifests, or the answers of aws elbv2 describe-*, from files and folders. `settings` may be NULL. On success `*out` is a model for
 podway_model_free; on failure `*error`, where `error` is not NULL, is one for podway_error_free.

 May be called from any thread.
 */
podway_status podway_model_load(const struct podway_str *paths,
                                size_t path_count,
                                const struct podway_settings *settings,
                                struct podway_model **out,
                                struct podway_error **error);

/*
 Loads manifests, or the answers of aws elbv2 describe-*, from text. `settings` may be NULL. On success `*out` is a model for podway_model_free;
 on failure `*error`, where `error` is not NULL, is one for podway_error_free.

 May be called from any thread.
 */
podway_status podway_model_read(const struct podway_source *sources,
                                size_t source_count,
                                const struct podway_settings *settings,
                                struct podway_model **out,
                                struct podway_error **error);

/*
 Reads a model from its JSON document. On success `*out` is a model for podway_model_free; on failure
 `*error`, where `error` is not NULL, is one for podway_error_free.

 May be called from any thread.
 */
podway_status podway_model_from_json(struct podway_str json,
                                     struct podway_model **out,
                                     struct podway_error **error);

/*
 Writes a model as JSON. On success `*out` is a text for podway_text_free.

 The model may be used from many threads at once.
 */
podway_status podway_model_to_json(const struct podway_model *model, struct podway_text **out);

/*
 Writes the warnings, and with `skip_broken` the errors, that loading came across: a JSON array of
 {Severity, Code, Message, Object, File, Line, Column, ...}. On success `*out` is a text for
 podway_text_free.

 The model may be used from many threads at once.
 */
podway_status podway_model_diagnostics(const struct podway_model *model, struct podway_text **out);

/*
 Writes everything that the ELBv2 API would refuse in the model, and warnings about what its documentation
 is of two minds about: a JSON array as of podway_model_diagnostics. `options` is a JSON object as for
 podway_router_new, or empty. On success `*out` is a text for podway_text_free; on failure `*error`, where
 `error` is not NULL, is one for podway_error_free.

 The model may be used from many threads at once.
 */
podway_status podway_model_validate(const struct podway_model *model,
                                    struct podway_str options,
                                    struct podway_text **out,
                                    struct podway_error **error);

/*
 Frees a model. NULL is fine. No other call may use the model meanwhile or afterwards; routers made of
 it stay as they are.
 */
void podway_model_free(struct podway_model *model);

/*
 The word for a PODWAY_TYPE_* constant, as actions spell it; empty for another number. Never freed.

 May be called from any thread.
 */
struct podway_str podway_type_name(int32_t number);

/*
 The word for a PODWAY_REASON_* constant, AWS's own where it has one; empty for another number. Never
 freed.

 May be called from any thread.
 */
struct podway_str podway_reason_name(int32_t number);

/*
 The word for a PODWAY_STICKINESS_* constant; empty for another number. Never freed.

 May be called from any thread.
 */
struct podway_str podway_stickiness_name(int32_t number);

/*
 The action type for a PODWAY_AUTHENTICATE_* constant; empty for another number. Never freed.

 May be called from any thread.
 */
struct podway_str podway_authenticate_name(int32_t number);

/*
 Reads `192.0.2.1:80` or `[2001:db8::1]:80`.

 May be called from any thread.
 */
podway_status podway_address_parse(struct podway_str text, struct podway_address *address);

/*
 Makes an output. NULL if the library failed.

 May be called from any thread.
 */
struct podway_output *podway_output_new(void);

/*
 Frees an output. NULL is fine. No other call may use the output meanwhile or afterwards.
 */
void podway_output_free(struct podway_output *output);

/*
 The Location of a redirect; `ptr` is NULL where there is none. Valid until the output is used again.

 `output` may be NULL, and may be read from many threads at once while no decision is made with it.
 */
struct podway_str podway_output_location(const struct podway_output *output);

/*
 The body of a fixed response; `ptr` is NULL where there is none. Valid until the output is used again.

 `output` may be NULL, and may be read from many threads at once while no decision is made with it.
 */
struct podway_str podway_output_body(const struct podway_output *output);

/*
 The media type of a fixed response; `ptr` is NULL where there is none. Valid until the output is used
 again.

 `output` may be NULL, and may be read from many threads at once while no decision is made with it.
 */
struct podway_str podway_output_content_type(const struct podway_output *output);

/*
 Path and query for the target, where a transform changed them; `ptr` is NULL where none did. Valid
 until the output is used again.

 `output` may be NULL, and may be read from many threads at once while no decision is made with it.
 */
struct podway_str podway_output_uri(const struct podway_output *output);

/*
 The Host for the target, where a transform changed it; `ptr` is NULL where none did. Valid until the
 output is used again.

 `output` may be NULL, and may be read from many threads at once while no decision is made with it.
 */
struct podway_str podway_output_host(const struct podway_output *output);

/*
 The value of the Set-Cookie header of this index, from 0, that the response must carry; `ptr` is NULL
 after the last one. Valid until the output is used again.

 `output` may be NULL, and may be read from many threads at once while no decision is made with it.
 */
struct podway_str podway_output_set_cookie(const struct podway_output *output, size_t index);

/*
 Compiles a model. `options` is a JSON object, or empty for the defaults. `cookie_key` is 32 secret
 bytes: routers that share them honour each other's sticky cookies. On success `*out` is a router for
 podway_router_free; on failure `*error`, where `error` is not NULL, is one for podway_error_free.

 May be called from any thread; the model may be used from many threads at once.
 */
podway_status podway_router_new(const struct podway_model *model,
                                struct podway_str options,
                                struct podway_str cookie_key,
                                struct podway_now now,
                                struct podway_router **out,
                                struct podway_error **error);

/*
 Frees a router. NULL is fine. No other call may use the router meanwhile or afterwards.
 */
void podway_router_free(struct podway_router *router);

/*
 Finds the listener of a load balancer, by name or ARN, on a port. The id holds for the router's life.

 The router may be used from many threads at once.
 */
podway_status podway_router_listener(const struct podway_router *router,
                                     struct podway_str load_balancer,
                                     uint16_t port,
                                     uint32_t *listener);

/*
 Decides where a request goes. Allocates nothing, takes no lock, makes no system call. `entropy` is a
 random number of the caller's. `decision->struct_size` must be set. The decision's text is in `output`
 until it is used again. A forward owes one podway_router_report.

 The router may be used from many threads at once; `output` and `decision` belong to one call at a time.
 */
podway_status podway_router_decide(const struct podway_router *router,
                                   uint32_t listener,
                                   const struct podway_request *request,
                                   struct podway_now now,
                                   uint64_t entropy,
                                   struct podway_output *output,
                                   struct podway_decision *decision);

/*
 Decides anew about a request whose connection to the chosen target failed before anything was sent:
 another target of the same group. PODWAY_STATUS_NOT_FOUND, and nothing is written, without the option
 `retry`, for methods that are not idempotent, and where there is no other target: then the failure stands.

 `failed` is the decision, reported before with PODWAY_OUTCOME_CONNECT_FAILED; it may be the same struct as
 `decision`. The new decision owes a report of its own. Ask once for a request. Allocates nothing, takes no
 lock.

 The router may be used from many threads at once; `output` and `decision` belong to one call at a time.
 */
podway_status podway_router_retry(const struct podway_router *router,
                                  uint32_t listener,
                                  const struct podway_request *request,
                                  const struct podway_decision *failed,
                                  struct podway_now now,
                                  uint64_t entropy,
                                  struct podway_output *output,
                                  struct podway_decision *decision);

/*
 Settles a forward: owed exactly once for each. Other decisions may be reported too; nothing happens.
 `outcome` is a PODWAY_OUTCOME_* constant; `status` counts for PODWAY_OUTCOME_RESPONSE.

 The router may be used from many threads at once.
 */
podway_status podway_router_report(const struct podway_router *router,
                                   const struct podway_decision *decision,
                                   int32_t outcome,
                                   uint16_t status,
                                   struct podway_now now);

/*
 Swaps a model in without stopping other threads. A failure leaves everything as it was, and `*error`,
 where `error` is not NULL, is one for podway_error_free.

 The router and the model may be used from many threads at once.
 */
podway_status podway_router_reload(const struct podway_router *router,
                                   const struct podway_model *model,
                                   struct podway_now now,
                                   struct podway_error **error);

/*
 Replaces the keys of cookies, each 32 secret bytes: the first seals, the others still open what they
 sealed. Cookies of other keys are not honoured any more. On failure nothing changes and `*error`, where
 `error` is not NULL, is one for podway_error_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_set_cookie_keys(const struct podway_router *router,
                                            const struct podway_str *keys,
                                            size_t key_count,
                                            struct podway_error **error);

/*
 To be called when the response to a forward comes in, where its target group has stickiness of type
 app_cookie: `request` is the one that was decided (its headers Cookie, Origin and User-Agent count),
 `cookies` are the names of the cookies that the response sets. What the load balancer adds is then in
 podway_output_set_cookie; without that type there is nothing.

 The router may be used from many threads at once; `output` belongs to one call at a time.
 */
podway_status podway_router_app_cookie(const struct podway_router *router,
                                       const struct podway_decision *decision,
                                       const struct podway_request *request,
                                       const struct podway_str *cookies,
                                       size_t cookie_count,
                                       struct podway_now now,
                                       uint64_t entropy,
                                       struct podway_output *output);

/*
 Writes the authentication that a decision asks for as the model has it: JSON of an ELBv2 action. On
 success `*out` is a text for podway_text_free; PODWAY_STATUS_NOT_FOUND where there is none.

 The router may be used from many threads at once.
 */
podway_status podway_router_authentication(const struct podway_router *router,
                                           uint32_t listener,
                                           const struct podway_decision *decision,
                                           struct podway_text **out);

/*
 Sets a target's health by hand. `state` is AWS's word: initial, healthy, unhealthy, unused, draining,
 unavailable. On failure `*error`, where `error` is not NULL, is one for podway_error_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_set_target_health(const struct podway_router *router,
                                              uint64_t target,
                                              struct podway_str state,
                                              struct podway_now now,
                                              struct podway_error **error);

/*
 Makes an empty list of probes. NULL if the library failed.

 May be called from any thread.
 */
struct podway_probes *podway_probes_new(void);

/*
 Frees a list of probes. NULL is fine. No other call may use it meanwhile or afterwards.
 */
void podway_probes_free(struct podway_probes *probes);

/*
 Fills `probes` with the health checks that are due, moves what time moves, and says in `*next_ms` when
 to call again, on the caller's monotonic clock.

 The router may be used from many threads at once; `probes` belongs to one call at a time.
 */
podway_status podway_router_poll(const struct podway_router *router,
                                 struct podway_now now,
                                 struct podway_probes *probes,
                                 uint64_t *next_ms);

/*
 How many probes the last poll filled in; 0 for NULL.

 The list may be read from many threads at once while it is not polled into.
 */
size_t podway_probes_count(const struct podway_probes *probes);

/*
 Copies the probe of this index, from 0. `probe->struct_size` must be set. Its views are valid until the
 list is polled into again or freed.

 The list may be read from many threads at once while it is not polled into.
 */
podway_status podway_probes_get(const struct podway_probes *probes, size_t index, struct podway_probe *probe);

/*
 Takes a probe's result: a PODWAY_PROBE_* constant, with the HTTP status or the grpc-status for
 PODWAY_PROBE_STATUS. A target that is gone is ignored.

 The router may be used from many threads at once.
 */
podway_status podway_router_report_probe(const struct podway_router *router,
                                         uint64_t target,
                                         int32_t result,
                                         uint16_t status,
                                         struct podway_now now);

/*
 Finds a target by its group's name and its own id:port. The id holds while the target is registered.

 The router may be used from many threads at once.
 */
podway_status podway_router_find_target(const struct podway_router *router,
                                        struct podway_str target_group,
                                        struct podway_str target,
                                        uint64_t *id);

/*
 Finds a target group by its name or ARN. The id holds for the router's life.

 The router may be used from many threads at once.
 */
podway_status podway_router_find_target_group(const struct podway_router *router,
                                              struct podway_str target_group,
                                              uint32_t *id);

/*
 Writes the name of a target group. On success `*out` is a text for podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_target_group_name(const struct podway_router *router,
                                              uint32_t target_group,
                                              struct podway_text **out);

/*
 Writes the id:port of a target. On success `*out` is a text for podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_target_name(const struct podway_router *router,
                                        uint64_t target,
                                        struct podway_text **out);

/*
 Writes a decision as JSON, with names; fields that do not belong to its type are left out. `output` is
 the one it was made with. On success `*out` is a text for podway_text_free.

 The router may be used from many threads at once; `output` only while no decision is made with it.
 */
podway_status podway_router_describe(const struct podway_router *router,
                                     const struct podway_decision *decision,
                                     const struct podway_output *output,
                                     struct podway_text **out);

/*
 Writes all listeners: a JSON array of {id, load_balancer, port, protocol}. On success `*out` is a text
 for podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_listeners(const struct podway_router *router, struct podway_text **out);

/*
 Writes what the node that is this target does with a new connection from `client`, the load balancer's
 own address (target type instance): JSON with `outcome` (forwarded, refused, dropped), `pod`, `address`,
 `from_node`, `node`, `health_check_status`, `local_endpoints`. PODWAY_STATUS_NOT_FOUND where the target is
 no node with a NodePort. On success `*out` is a text for podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_hop(const struct podway_router *router,
                                uint64_t target,
                                struct podway_address client,
                                struct podway_now now,
                                uint64_t entropy,
                                struct podway_text **out);

/*
 Writes all targets, draining ones included: a JSON array of {id, target_group, target, address, zone,
 state, reason, description, in_flight, anomalous, mitigation_in_effect, administrative_override}; `id` is
 text. On success `*out` is a text for podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_targets(const struct podway_router *router, struct podway_text **out);

/*
 Writes the changes of health since the last call, oldest first: a JSON array of {target_id,
 target_group, target, from, to, reason, description, at_ms}; `to` is null when the target is gone. On
 success `*out` is a text for podway_text_free.

 The router may be used from many threads at once; each event is told to one of them.
 */
podway_status podway_router_events(const struct podway_router *router, struct podway_text **out);

/*
 Writes all target groups: a JSON array of {id, name, arn, service}. On success `*out` is a text for
 podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_target_groups(const struct podway_router *router, struct podway_text **out);

/*
 Writes the zones that a target group has targets in, with what routing and DNS fail-over make of them: a
 JSON array of {zone, registered, healthy, routing_healthy, dns_healthy, shifted}. It is empty for a group
 that is gone. On success `*out` is a text for podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_zone_health(const struct podway_router *router,
                                        uint32_t target_group,
                                        struct podway_text **out);

/*
 Writes the names of the headers that a decision may look at, in lower case and sorted: a JSON array. A
 request that has only these (and its host) is decided as with all of them. A reload may change them. On
 success `*out` is a text for podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_header_names(const struct podway_router *router, struct podway_text **out);

/*
 How many reports came for a registration that was gone, or for one with nothing in flight; 0 for NULL. A
 report that comes twice while its target serves others is taken for one of theirs.

 The router may be used from many threads at once.
 */
uint64_t podway_router_late_reports(const struct podway_router *router);

/*
 Decides as podway_router_decide does and writes why: a JSON object of {Decision, Request, Rules,
 NotReached}, with every condition of every rule that was looked at and what it saw. Owes no report. On
 success `*out` is a text for podway_text_free.

 The router may be used from many threads at once; `output` belongs to one call at a time.
 */
podway_status podway_router_explain(const struct podway_router *router,
                                    uint32_t listener,
                                    const struct podway_request *request,
                                    struct podway_now now,
                                    uint64_t entropy,
                                    struct podway_output *output,
                                    struct podway_text **out);

/*
 Writes what keeps this request from the target that the client had before: a JSON array of {cookie,
 reason, text}, empty where the cookies hold. `history` are values of Set-Cookie headers that the client
 got earlier, oldest first: with them it is told apart whether a cookie was never set or did not come back.
 Changes nothing. On success `*out` is a text for podway_text_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_why_unsticky(const struct podway_router *router,
                                         uint32_t listener,
                                         const struct podway_request *request,
                                         const struct podway_str *history,
                                         size_t history_count,
                                         struct podway_now now,
                                         struct podway_text **out);

/*
 Shifts the traffic of a load balancer, by name or ARN, away from a zone until it is cancelled. On failure
 `*error`, where `error` is not NULL, is one for podway_error_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_start_zonal_shift(const struct podway_router *router,
                                              struct podway_str load_balancer,
                                              struct podway_str zone,
                                              struct podway_now now,
                                              struct podway_error **error);

/*
 Ends all zonal shifts of a load balancer, by name or ARN. On failure `*error`, where `error` is not NULL,
 is one for podway_error_free.

 The router may be used from many threads at once.
 */
podway_status podway_router_cancel_zonal_shift(const struct podway_router *router,
                                               struct podway_str load_balancer,
                                               struct podway_now now,
                                               struct podway_error **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PODWAY_H */
