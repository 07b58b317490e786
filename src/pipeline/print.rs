//! A graph as text, as DOT, as Mermaid.

use std::fmt::Write as _;

use super::{Edge, Graph, Node};

/// What stands on an edge: its condition, else its label; empty for a plain one.
fn caption(edge: &Edge) -> String {
    match (&edge.condition, &edge.label) {
        (Some(condition), _) => condition.to_string(),
        (None, Some(label)) => label.clone(),
        (None, None) => String::new(),
    }
}

/// Returns the graph as people read it in a terminal: a line a node, its edges below.
pub fn to_text(graph: &Graph) -> String {
    let mut out = format!("{}: {}\n", graph.name, graph.about);
    let width = graph.nodes.iter().map(|node| node.id.as_str().len()).max().unwrap_or(0);
    for node in &graph.nodes {
        let extra: Vec<String> = node
            .attributes
            .iter()
            .filter(|(name, _)| *name != "label")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let extra = if extra.is_empty() { String::new() } else { format!("  {}", extra.join(" ")) };
        let _ = writeln!(out, "\n  {:width$}  ({}){extra}", node.id.as_str(), node.kind);
        for edge in graph.edges_from(&node.id) {
            match caption(edge).as_str() {
                "" => {
                    let _ = writeln!(out, "  {:width$}    -> {}", "", edge.to);
                }
                caption => {
                    let _ = writeln!(out, "  {:width$}    -({caption})-> {}", "", edge.to);
                }
            }
        }
    }
    out
}

/// Returns the graph in the DOT language.
pub fn to_dot(graph: &Graph) -> String {
    let mut out = format!("digraph {} {{\n  rankdir=LR\n", graph.name);
    for node in &graph.nodes {
        let mut attributes = vec![format!("type={}", quoted(&node.kind)), shape(node).to_owned()];
        attributes.extend(node.attributes.iter().map(|(name, v)| format!("{name}={}", quoted(v))));
        let _ = writeln!(out, "  {} [{}]", quoted(node.id.as_str()), attributes.join(", "));
    }
    for edge in &graph.edges {
        let mut attributes = Vec::new();
        if let Some(condition) = &edge.condition {
            attributes.push(format!("condition={}", quoted(&condition.to_string())));
        }
        if let Some(label) = &edge.label {
            attributes.push(format!("label={}", quoted(label)));
        }
        if edge.weight != 0 {
            attributes.push(format!("weight={}", edge.weight));
        }
        let (from, to) = (quoted(edge.from.as_str()), quoted(edge.to.as_str()));
        let _ = match attributes.as_slice() {
            [] => writeln!(out, "  {from} -> {to}"),
            _ => writeln!(out, "  {from} -> {to} [{}]", attributes.join(", ")),
        };
    }
    out.push_str("}\n");
    out
}

/// The shape by which DOT pipelines of the field tell the kinds apart.
fn shape(node: &Node) -> &'static str {
    match node.kind.as_str() {
        "start" => "shape=Mdiamond",
        "exit" => "shape=Msquare",
        "decide" => "shape=diamond",
        "agent" => "shape=box",
        _ => "shape=parallelogram",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns the graph as a Mermaid flow chart, which GitHub draws in markdown.
pub fn to_mermaid(graph: &Graph) -> String {
    let mut out = "flowchart LR\n".to_owned();
    for node in &graph.nodes {
        let label = node.label().replace('"', "#quot;");
        let (open, close) = match node.kind.as_str() {
            "start" | "exit" => ("([", "])"),
            "decide" => ("{", "}"),
            _ => ("[", "]"),
        };
        let _ = writeln!(out, "  {}{open}\"{label}\"{close}", mermaid_id(node.id.as_str()));
    }
    for edge in &graph.edges {
        let (from, to) = (mermaid_id(edge.from.as_str()), mermaid_id(edge.to.as_str()));
        let _ = match caption(edge).as_str() {
            "" => writeln!(out, "  {from} --> {to}"),
            caption => writeln!(out, "  {from} -->|\"{}\"| {to}", caption.replace('"', "#quot;")),
        };
    }
    out
}

/// Makes an id that is no keyword of Mermaid's: `end` breaks a chart.
fn mermaid_id(id: &str) -> String {
    format!("n_{}", id.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::super::{converge, local};
    use super::*;

    #[test]
    fn the_text_shows_every_edge() {
        insta::assert_snapshot!(to_text(&converge()));
    }

    #[test]
    fn dot_and_mermaid_name_every_node_and_edge() {
        for graph in [converge(), local()] {
            let (dot, mermaid) = (to_dot(&graph), to_mermaid(&graph));
            assert_eq!(dot.matches(" -> ").count(), graph.edges.len());
            assert_eq!(mermaid.matches(" -->").count(), graph.edges.len());
            assert_eq!(dot.matches("shape=").count(), graph.nodes.len());
        }
    }

    #[test]
    fn a_quote_in_an_attribute_is_escaped() {
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
    }
}
