//! What CloudWatch would count, under its names and dimensions (spec: dataplane §8.7), as OpenMetrics text.
//! Counters are looked up once per model, not per request.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::TargetHealthState;
use crate::router::{AdministrativeOverride, Router};

type Labels = Vec<(String, String)>;

/// Upper bounds of the response time's buckets, in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

macro_rules! counters {
    ($(#[$doc:meta])* $set:ident, $families:ident { $($field:ident = $name:literal, $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $set {
            $(pub(crate) $field: Counter,)*
        }

        #[derive(Debug, Default)]
        struct $families {
            $($field: Family<Labels, Counter>,)*
        }

        impl $families {
            fn register(&self, registry: &mut Registry) {
                $(registry.register($name, $help, self.$field.clone());)*
            }

            fn of(&self, labels: &Labels) -> $set {
                $set { $($field: self.$field.get_or_create(labels).clone(),)* }
            }
        }
    };
}

counters! {
    /// The counters of a load balancer.
    ListenerCounters, ListenerFamilies {
        requests = "RequestCount", "Requests for which a target was chosen";
        rule_evaluations = "RuleEvaluations", "Rules looked at, without the default rule";
        new_connections = "NewConnectionCount", "Connections from clients and to targets";
        rejected = "RejectedConnectionCount", "Connections refused because there are too many";
        tls_errors = "ClientTLSNegotiationErrorCount", "TLS handshakes that clients did not complete";
        processed_bytes = "ProcessedBytes", "Bytes from and to clients";
        fixed_responses = "HTTP_Fixed_Response_Count", "Fixed responses";
        redirects = "HTTP_Redirect_Count", "Redirects";
        redirect_limit = "HTTP_Redirect_Url_Limit_Exceeded_Count", "Redirects with too long a URL";
        desync = "DesyncMitigationMode_NonCompliant_Request_Count", "Requests that are not RFC compliant";
        non_sticky = "NonStickyRequestCount", "Requests whose sticky session could not be kept";
        elb_3xx = "HTTPCode_ELB_3XX_Count", "Answers 3xx of the load balancer";
        elb_4xx = "HTTPCode_ELB_4XX_Count", "Answers 4xx of the load balancer";
        elb_5xx = "HTTPCode_ELB_5XX_Count", "Answers 5xx of the load balancer";
        elb_500 = "HTTPCode_ELB_500_Count", "Answers 500 of the load balancer";
        elb_502 = "HTTPCode_ELB_502_Count", "Answers 502 of the load balancer";
        elb_503 = "HTTPCode_ELB_503_Count", "Answers 503 of the load balancer";
        elb_504 = "HTTPCode_ELB_504_Count", "Answers 504 of the load balancer";
        dropped_invalid = "DroppedInvalidHeaderRequestCount", "Requests that lost an invalid header";
        forwarded_invalid = "ForwardedInvalidHeaderRequestCount", "Requests that kept an invalid header";
        auth_success = "ELBAuthSuccess", "Requests that authentication let pass";
        auth_failure = "ELBAuthFailure", "Requests that authentication refused";
        jwt_failure = "JWTValidationFailureCount", "Requests whose token was not accepted";
        ipv6_requests = "IPv6RequestCount", "Requests of clients over IPv6 for which a target was chosen";
        ipv6_bytes = "IPv6ProcessedBytes", "Bytes from and to clients over IPv6";
        auth_error = "ELBAuthError", "Requests whose authentication could not be decided";
    }
}

counters! {
    /// The counters of a target group.
    GroupCounters, GroupFamilies {
        grpc = "GrpcRequestCount", "gRPC requests";
        target_2xx = "HTTPCode_Target_2XX_Count", "Answers 2xx of targets";
        target_3xx = "HTTPCode_Target_3XX_Count", "Answers 3xx of targets";
        target_4xx = "HTTPCode_Target_4XX_Count", "Answers 4xx of targets";
        target_5xx = "HTTPCode_Target_5XX_Count", "Answers 5xx of targets";
        connection_errors = "TargetConnectionErrorCount", "Connections to targets that failed";
        tls_errors = "TargetTLSNegotiationErrorCount", "TLS handshakes with targets that failed";
        unhealthy_routing = "UnhealthyRoutingRequestCount", "Requests sent although too few targets were healthy";
    }
}

/// What a load balancer counts.
#[derive(Debug, Default)]
pub(crate) struct ListenerMetrics {
    pub(crate) count: ListenerCounters,
    pub(crate) active_connections: Gauge,
}

/// What a target group counts.
#[derive(Debug, Default)]
pub(crate) struct GroupMetrics {
    /// `RequestCount` again: CloudWatch has it by load balancer, and by load balancer and target group.
    pub(crate) requests: Counter,
    pub(crate) count: GroupCounters,
    pub(crate) response_time: Option<Histogram>,
}

macro_rules! gauges {
    ($($field:ident = $name:literal, $help:literal;)*) => {
        /// What is counted of a target group when somebody asks.
        #[derive(Debug, Default)]
        struct GroupGauges {
            $($field: Family<Labels, Gauge>,)*
        }

        impl GroupGauges {
            fn register(&self, registry: &mut Registry) {
                $(registry.register($name, $help, self.$field.clone());)*
            }

            fn clear(&self) {
                $(self.$field.clear();)*
            }

            /// All of a group, from nothing.
            fn begin(&self, labels: &Labels) {
                $(drop(self.$field.get_or_create(labels));)*
            }
        }
    };
}

gauges! {
    healthy = "HealthyHostCount", "Targets that are healthy";
    unhealthy = "UnHealthyHostCount", "Targets that are unhealthy";
    anomalous = "AnomalousHostCount", "Targets that fail more often than their peers";
    mitigated = "MitigatedHostCount", "Targets that get less than their share for that";
    shifted = "ZonalShiftedHostCount", "Targets that a zonal shift keeps requests away from";
    routing = "HealthyStateRouting", "Zones in which only healthy targets get requests";
    no_routing = "UnhealthyStateRouting", "Zones in which too few targets are healthy for that";
    dns = "HealthyStateDNS", "Zones whose addresses may stay in DNS";
    no_dns = "UnhealthyStateDNS", "Zones whose addresses should leave DNS";
}

/// All metrics of a forwarder.
pub(crate) struct Metrics {
    registry: Registry,
    listeners: ListenerFamilies,
    groups: GroupFamilies,
    active_connections: Family<Labels, Gauge>,
    response_time: Family<Labels, Histogram, fn() -> Histogram>,
    gauges: GroupGauges,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let (listeners, groups) = (ListenerFamilies::default(), GroupFamilies::default());
        listeners.register(&mut registry);
        groups.register(&mut registry);
        let active_connections = Family::<Labels, Gauge>::default();
        let gauges = GroupGauges::default();
        gauges.register(&mut registry);
        let response_time =
            Family::<Labels, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register("ActiveConnectionCount", "Connections from clients", active_connections.clone());
        registry.register("TargetResponseTime", "Seconds until a target answered", response_time.clone());
        Metrics { registry, listeners, groups, active_connections, response_time, gauges }
    }
}

impl Metrics {
    /// The metrics of a load balancer, `app/name/id`.
    pub(crate) fn listener(&self, load_balancer: &str) -> Arc<ListenerMetrics> {
        let labels = vec![("LoadBalancer".to_owned(), load_balancer.to_owned())];
        Arc::new(ListenerMetrics {
            count: self.listeners.of(&labels),
            active_connections: self.active_connections.get_or_create(&labels).clone(),
        })
    }

    /// The metrics of a target group, `targetgroup/name/id`.
    pub(crate) fn group(&self, load_balancer: &str, target_group: &str) -> Arc<GroupMetrics> {
        let labels = group_labels(load_balancer, target_group);
        Arc::new(GroupMetrics {
            requests: self.listeners.requests.get_or_create(&labels).clone(),
            count: self.groups.of(&labels),
            response_time: Some(self.response_time.get_or_create(&labels).clone()),
        })
    }

    /// Everything as OpenMetrics text; the hosts as `router` has them now.
    pub(crate) fn text(&self, router: &Router, names: impl Fn(&str) -> (String, String)) -> String {
        self.gauges.clear();
        let labels = |group: &str| {
            let (balancer, group) = names(group);
            group_labels(&balancer, &group)
        };
        for group in router.target_groups() {
            let labels = labels(&group.name);
            self.gauges.begin(&labels);
            for zone in router.zone_health(group.id) {
                let gauges = &self.gauges;
                let count = |yes, one: &Family<_, Gauge>, other: &Family<_, Gauge>| {
                    (if yes { one } else { other }).get_or_create(&labels).inc();
                };
                count(zone.routing_healthy, &gauges.routing, &gauges.no_routing);
                count(zone.dns_healthy, &gauges.dns, &gauges.no_dns);
            }
        }
        for target in router.targets() {
            let labels = labels(&target.group_name);
            let healthy = target.health.state == TargetHealthState::Healthy;
            let shifted = target.administrative_override == AdministrativeOverride::ZonalShiftActive;
            for (counts, gauge) in [
                (healthy, &self.gauges.healthy),
                (target.health.state == TargetHealthState::Unhealthy, &self.gauges.unhealthy),
                (healthy && target.anomalous, &self.gauges.anomalous),
                (healthy && target.mitigation_in_effect, &self.gauges.mitigated),
                (shifted, &self.gauges.shifted),
            ] {
                if counts {
                    gauge.get_or_create(&labels).inc();
                }
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn group_labels(load_balancer: &str, target_group: &str) -> Labels {
    vec![
        ("LoadBalancer".to_owned(), load_balancer.to_owned()),
        ("TargetGroup".to_owned(), target_group.to_owned()),
    ]
}
