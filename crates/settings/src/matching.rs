//! The match rules of a sync.

use crate::form::{MatchForm, MatchPartForm};
use crate::place::child;
use crate::settings::{MatchPartSettings, MatchSettings};
use crate::syncs::Reader;
use crate::tree::Node;

const FORM: &str =
    "write { source = \"[employeeId]\", target = \"employee_no\" }, or { all = [ … ] } with several of these";

impl Reader<'_> {
    /// The rules in their order.
    pub(crate) fn matching(&mut self) -> Vec<MatchSettings> {
        let table = self.table;
        let path = child(&self.path, "match");
        let Some((node, list)) = table.get("match").and_then(|node| Some((node, node.list()?))) else {
            return Vec::new();
        };
        if list.is_empty() {
            let fix = "add { source = \"[…]\", target = \"…\" }, or remove it";
            self.add(&node.place, &path, "no rule stands here", fix);
        }
        let mut rules: Vec<MatchSettings> = Vec::new();
        for (position, element) in list.iter().enumerate() {
            let path = format!("{path}[{position}]");
            let Some(rule) = self.rule(element, &path) else { continue };
            if let Some(before) = rules.iter().position(|known| *known == rule) {
                let problem = format!("this rule stands at [{before}] already");
                self.add(&element.place, &path, problem, "remove one of them");
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, element: &Node, path: &str) -> Option<MatchSettings> {
        let form: MatchForm = self.parse(element, path)?;
        match form {
            MatchForm { source: Some(source), target: Some(target), all: None } => {
                Some(MatchSettings { all: vec![self.part(element, path, &source, target)?] })
            }
            MatchForm { source: None, target: None, all: Some(parts) } => self.together(element, path, parts),
            MatchForm { all: Some(_), .. } => {
                let problem = "`all` stands beside `source` or `target`";
                self.add(&element.place, path, problem, "put that comparison into `all` as well");
                None
            }
            MatchForm { source, .. } => {
                let missing = if source.is_some() { "target" } else { "source" };
                self.add(&element.place, path, format!("{missing:?} is missing"), FORM);
                None
            }
        }
    }

    fn together(&mut self, element: &Node, path: &str, parts: Vec<MatchPartForm>) -> Option<MatchSettings> {
        let path = child(path, "all");
        let nodes = element.table().and_then(|table| table.get("all")).and_then(Node::list).unwrap_or_default();
        if parts.is_empty() {
            self.add(&element.place, &path, "nothing is compared here", FORM);
            return None;
        }
        let mut all: Vec<MatchPartSettings> = Vec::with_capacity(parts.len());
        let mut is_whole = true;
        for (position, (MatchPartForm { source, target }, node)) in parts.into_iter().zip(nodes).enumerate() {
            let path = format!("{path}[{position}]");
            if all.iter().any(|part| part.target == target) {
                let problem = format!("{target:?} is compared twice");
                self.add(&node.place, &child(&path, "target"), problem, "remove one of the comparisons");
            }
            match self.part(node, &path, &source, target) {
                Some(part) => all.push(part),
                None => is_whole = false,
            }
        }
        is_whole.then_some(MatchSettings { all })
    }

    fn part(&mut self, element: &Node, path: &str, source: &str, target: String) -> Option<MatchPartSettings> {
        let place = element.table().and_then(|table| table.get("source")).map_or(&element.place, |node| &node.place);
        let source = self.expression(source, place, &child(path, "source"));
        if target.trim().is_empty() {
            self.add(&element.place, &child(path, "target"), "no attribute is named here", "name the target attribute");
        }
        Some(MatchPartSettings { source: source?, target })
    }
}
