//! Answers to one model: listeners under their load balancers, rules under their listeners, attributes
//! and target health with whom they belong to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::owner::{self, Candidate, Kind, Origin, Place, whole};
use super::{Answer, Described, ListenerAnswer, RuleAnswer, Supported, is_other_arn};
use crate::error::{Code, Diagnostic, Error};
use crate::model::{Attribute, LoadBalancer, Model, Priority, Rule, TargetGroup, TargetHealthDescription};

pub(super) fn assemble(model: Model, answers: Vec<(&str, Answer)>) -> Result<Described, Error> {
    let mut work = Work { model, ..Work::default() };
    work.index();
    let (mut listeners, mut rules, mut attributes, mut health) = (vec![], vec![], vec![], vec![]);
    for (file, answer) in answers {
        work.page(file, &answer);
        let mut origin = Origin { file, arn: stated(&answer), beside: Vec::new() };
        let mut others = [0; 4];
        for balancer in answer.load_balancers {
            if let Some(balancer) = work.keep(balancer, Kind::LoadBalancer, &mut others[0]) {
                origin.beside.push(balancer.load_balancer_arn.clone());
                work.load_balancer(file, balancer)?;
            }
        }
        for listener in answer.listeners {
            if let Some(listener) = work.keep(listener, Kind::Listener, &mut others[1]) {
                origin.beside.push(listener.listener.listener_arn.clone());
                listeners.push((file, listener));
            }
        }
        for rule in answer.rules {
            if is_other_arn(&rule.rule.rule_arn) {
                others[2] += 1;
            } else {
                rules.push((file, rule));
            }
        }
        for group in answer.target_groups {
            if let Some(group) = work.keep(group, Kind::TargetGroup, &mut others[3]) {
                origin.beside.push(group.target_group_arn.clone());
                work.target_group(file, group)?;
            }
        }
        for record in answer.record_sets {
            if !work.model.record_sets.contains(&record) {
                work.model.record_sets.push(record);
            }
        }
        work.tell_left_out(file, others);
        let beside = || Origin { file, arn: origin.arn.clone(), beside: origin.beside.clone() };
        if let Some(list) = answer.attributes {
            attributes.push((beside(), list));
        }
        if let Some(list) = answer.target_health_descriptions {
            health.push((beside(), list));
        }
    }
    // A file may come before the one that it hangs on.
    for (file, listener) in listeners {
        work.listener(file, listener)?;
    }
    for (file, rule) in rules {
        work.rule(file, rule)?;
    }
    work.belongings(attributes, health)?;
    Ok(work.done())
}

/// The ARN that stands beside attributes or health.
fn stated(answer: &Answer) -> Option<(Kind, String)> {
    let arns = [
        (Kind::TargetGroup, &answer.target_group_arn),
        (Kind::Listener, &answer.listener_arn),
        (Kind::LoadBalancer, &answer.load_balancer_arn),
    ];
    arns.into_iter().find_map(|(kind, arn)| Some((kind, arn.clone()?)))
}

#[derive(Default)]
struct Work<'a> {
    model: Model,
    diagnostics: Vec<Diagnostic>,
    /// Places by ARN, and for what the documents brought, the file.
    balancers: HashMap<String, (usize, &'a str)>,
    groups: HashMap<String, (usize, &'a str)>,
    listeners: HashMap<String, (usize, usize, &'a str)>,
    /// Listeners to which rules, and load balancers to which listeners were added one by one.
    unsorted: (BTreeSet<(usize, usize)>, BTreeSet<usize>),
    left_out: Vec<Candidate>,
    /// By what a page lists and whose it is: a file with a page that is not the last, and whether there is a
    /// last one.
    pages: BTreeMap<(&'static str, String), (Option<&'a str>, bool)>,
}

impl<'a> Work<'a> {
    fn index(&mut self) {
        for (b, balancer) in self.model.load_balancers.iter().enumerate() {
            self.balancers.insert(balancer.load_balancer_arn.clone(), (b, ""));
            for (l, listener) in balancer.listeners.iter().enumerate() {
                self.listeners.insert(listener.listener_arn.clone(), (b, l, ""));
            }
        }
        for (g, group) in self.model.target_groups.iter().enumerate() {
            self.groups.insert(group.target_group_arn.clone(), (g, ""));
        }
    }

    /// A resource of a kind of load balancer that has rules; others are counted and remembered, so that
    /// their attributes find nobody else.
    fn keep<T>(&mut self, resource: Supported<T>, kind: Kind, others: &mut usize) -> Option<T> {
        match resource {
            Supported::Yes(resource) => Some(*resource),
            Supported::No { arn, name } => {
                *others += 1;
                self.left_out.push(Candidate { kind, arn, name, port: None, place: Place::LeftOut });
                None
            }
        }
    }

    fn tell_left_out(&mut self, file: &str, others: [usize; 4]) {
        let names = ["load balancer", "listener", "rule", "target group"];
        let told: Vec<String> = others
            .iter()
            .zip(names)
            .filter(|(n, _)| **n > 0)
            .map(|(n, name)| format!("{n} {name}{}", if *n == 1 { "" } else { "s" }))
            .collect();
        if !told.is_empty() {
            let message = format!("{} of Network or Gateway Load Balancers left out", told.join(", "));
            let warning = Diagnostic::warning(Code::W_IGNORED, message).at(Some(whole(file)));
            self.diagnostics.push(warning.expected("Application Load Balancers, which have rules"));
        }
    }

    /// Remembers whether an answer was the last page of its kind.
    fn page(&mut self, file: &'a str, answer: &Answer) {
        let more = answer.next_marker.is_some() || answer.next_token.is_some();
        let of = |arn: Option<&str>| arn.unwrap_or_default().to_owned();
        let listener = answer.listeners.iter().find_map(|l| match l {
            Supported::Yes(l) => Some(l.load_balancer_arn.as_str()),
            Supported::No { .. } => None,
        });
        let rule = answer.rules.first().and_then(|r| r.rule.rule_arn.rsplit_once('/')).map(|(l, _)| l);
        for (kind, there, whose) in [
            ("load balancers", !answer.load_balancers.is_empty(), String::new()),
            ("listeners", !answer.listeners.is_empty(), of(listener)),
            ("rules", !answer.rules.is_empty(), of(rule)),
            ("target groups", !answer.target_groups.is_empty(), String::new()),
        ] {
            if there {
                let (open, last) = self.pages.entry((kind, whose)).or_default();
                if more { *open = Some(file) } else { *last = true }
            }
        }
    }

    fn load_balancer(&mut self, file: &'a str, balancer: LoadBalancer) -> Result<(), Error> {
        let arn = balancer.load_balancer_arn.clone();
        let all = &mut self.model.load_balancers;
        if let Some((b, first)) = self.balancers.get(&arn).filter(|_| !arn.is_empty()) {
            let same = all.get(*b).is_some_and(|known| *known == balancer);
            return if same { Ok(()) } else { Err(twice("load balancer", &arn, first, file)) };
        }
        let b = all.len();
        for (l, listener) in balancer.listeners.iter().enumerate() {
            self.listeners.insert(listener.listener_arn.clone(), (b, l, file));
        }
        self.balancers.insert(arn, (b, file));
        all.push(balancer);
        Ok(())
    }

    fn target_group(&mut self, file: &'a str, group: TargetGroup) -> Result<(), Error> {
        let arn = group.target_group_arn.clone();
        let all = &mut self.model.target_groups;
        if let Some((g, first)) = self.groups.get(&arn).filter(|_| !arn.is_empty()) {
            let same = all.get(*g).is_some_and(|known| *known == group);
            return if same { Ok(()) } else { Err(twice("target group", &arn, first, file)) };
        }
        self.groups.insert(arn, (all.len(), file));
        all.push(group);
        Ok(())
    }

    fn listener(&mut self, file: &'a str, answer: ListenerAnswer) -> Result<(), Error> {
        let (arn, listener) = (answer.load_balancer_arn, answer.listener);
        let own = listener.listener_arn.clone();
        if let Some((b, l, first)) = self.listeners.get(&own).filter(|_| !own.is_empty()) {
            let known = self.model.load_balancers.get(*b).and_then(|b| b.listeners.get(*l));
            let same = known.is_some_and(|known| *known == listener);
            return if same { Ok(()) } else { Err(twice("listener", &own, first, file)) };
        }
        let only = self.model.load_balancers.len() == 1 && arn.is_empty();
        let b = match self.balancers.get(&arn).map(|(b, _)| *b).or(only.then_some(0)) {
            Some(b) => b,
            None if arn.is_empty() => return Err(stray(file, &format!("listener `{own}`"), "load balancer")),
            // Listeners without `describe-load-balancers` still route; the ARN tells the name.
            None => {
                let name = arn.rsplit('/').nth(1).unwrap_or(&arn).to_owned();
                let balancer = LoadBalancer {
                    load_balancer_name: name,
                    load_balancer_arn: arn.clone(),
                    ..LoadBalancer::default()
                };
                self.load_balancer(file, balancer)?;
                self.model.load_balancers.len() - 1
            }
        };
        if let Some(balancer) = self.model.load_balancers.get_mut(b) {
            self.listeners.insert(own, (b, balancer.listeners.len(), file));
            balancer.listeners.push(listener);
            self.unsorted.1.insert(b);
        }
        Ok(())
    }

    fn rule(&mut self, file: &'a str, answer: RuleAnswer) -> Result<(), Error> {
        let rule = answer.rule;
        // A rule's ARN is its listener's with one more part:
        // …:listener-rule/app/LB/LB-ID/LISTENER-ID/RULE-ID
        let listener = answer.listener_arn.or_else(|| {
            let (head, _) = rule.rule_arn.rsplit_once('/')?;
            Some(head.replacen(":listener-rule/", ":listener/", 1))
        });
        let place = match &listener {
            Some(arn) => self.listeners.get(arn).map(|(b, l, _)| (*b, *l)),
            None => {
                let all = self.model.load_balancers.iter().enumerate();
                let mut all = all.flat_map(|(b, lb)| (0..lb.listeners.len()).map(move |l| (b, l)));
                all.next().filter(|_| all.next().is_none())
            }
        };
        let found = place.and_then(|(b, l)| self.model.load_balancers.get_mut(b)?.listeners.get_mut(l));
        let (Some(found), Some(place)) = (found, place) else {
            let what = if rule.rule_arn.is_empty() {
                format!("rule with priority {}", rule.priority)
            } else {
                format!("rule `{}`", rule.rule_arn)
            };
            return Err(stray(file, &what, "listener"));
        };
        if rule.priority == Priority::Default {
            // The answer knows more than the listener's: its ARN, and transforms, which are then refused.
            found.default_rule_arn = Some(rule.rule_arn).filter(|arn| !arn.is_empty());
            found.default_actions = rule.actions;
            found.default_transforms = rule.transforms;
            return Ok(());
        }
        self.unsorted.0.insert(place);
        found.rules.push(rule);
        Ok(())
    }

    fn belongings(
        &mut self,
        attributes: Vec<(Origin<'_>, Vec<Attribute>)>,
        health: Vec<(Origin<'_>, Vec<TargetHealthDescription>)>,
    ) -> Result<(), Error> {
        let mut all = owner::candidates(&self.model);
        all.append(&mut self.left_out);
        let mut placed: BTreeMap<(Place, bool), String> = BTreeMap::new();
        let mut first = |place, health, file: &str| placed.insert((place, health), file.to_owned());
        for (origin, list) in attributes.into_iter().filter(|(_, list)| !list.is_empty()) {
            let place = owner::owner(&all, &origin, &owner::kinds(&list), "attributes")?;
            let slot = match place {
                Place::LoadBalancer(b) => self.model.load_balancers.get_mut(b).map(|b| &mut b.attributes),
                Place::Listener(b, l) => {
                    let balancer = self.model.load_balancers.get_mut(b);
                    balancer.and_then(|b| b.listeners.get_mut(l)).map(|l| &mut l.attributes)
                }
                Place::TargetGroup(g) => self.model.target_groups.get_mut(g).map(|g| &mut g.attributes),
                Place::LeftOut => None,
            };
            if let Some(slot) = slot {
                let before = first(place, false, origin.file);
                if let Some(before) = before.filter(|_| *slot != list) {
                    return Err(both("attributes", &before, &origin));
                }
                *slot = list;
            }
        }
        for (origin, list) in health {
            // An empty answer says that there are no targets, and of nobody says nothing.
            let place = match owner::owner(&all, &origin, &[Kind::TargetGroup], "target health") {
                Err(_) if list.is_empty() && origin.arn.is_none() => continue,
                place => place?,
            };
            let Place::TargetGroup(g) = place else { continue };
            if let Some(group) = self.model.target_groups.get_mut(g) {
                let slot = &mut group.target_health_descriptions;
                let before = first(place, true, origin.file);
                if let Some(before) = before.filter(|_| *slot != list) {
                    return Err(both("target health", &before, &origin));
                }
                *slot = list;
            }
        }
        Ok(())
    }

    fn done(mut self) -> Described {
        for b in self.unsorted.1 {
            if let Some(balancer) = self.model.load_balancers.get_mut(b) {
                balancer.listeners.iter_mut().for_each(sort_rules);
                balancer.listeners.sort_by_key(|l| l.port);
            }
        }
        for (b, l) in self.unsorted.0 {
            let listener = self.model.load_balancers.get_mut(b).and_then(|b| b.listeners.get_mut(l));
            listener.into_iter().for_each(sort_rules);
        }
        for ((kind, _), (open, last)) in self.pages {
            if let (Some(file), false) = (open, last) {
                let message =
                    format!("this is not the last page of its {kind}: the rest is not in the input");
                let warning = Diagnostic::warning(Code::W_PARTIAL, message).at(Some(whole(file)));
                self.diagnostics
                    .push(warning.expected("the pages behind it too, or an answer without `--max-items`"));
            }
        }
        Described { model: self.model, diagnostics: self.diagnostics }
    }
}

/// By priority; a rule that two answers hold in the same words counts once.
fn sort_rules(listener: &mut crate::model::Listener) {
    listener.rules.sort_by_key(|r| r.priority);
    listener.rules.dedup_by(|a: &mut Rule, b| !a.rule_arn.is_empty() && a == b);
}

fn twice(what: &str, arn: &str, first: &str, file: &str) -> Error {
    let first = if first.is_empty() { "the manifests" } else { first };
    Diagnostic::error(Code::E_OBJECT, format!("the {what} `{arn}` stands in {first} too, in other words"))
        .expected("one answer for each resource")
        .at(Some(whole(file)))
        .into()
}

fn both(what: &str, first: &str, origin: &Origin<'_>) -> Error {
    owner::refused(origin, format!("the {what} in {first} belong to the same resource, and differ"))
        .expected("one answer for each resource")
        .into()
}

fn stray(file: &str, what: &str, of: &str) -> Error {
    Diagnostic::error(Code::E_OBJECT, format!("the {what} belongs to a {of} that is not in the input"))
        .expected(format!("the answer that describes the {of}"))
        .at(Some(whole(file)))
        .into()
}
