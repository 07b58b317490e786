//! What the nodes of the built-in graphs do: a file for each type, and one list.

mod agent;
mod decide;
mod deliver;
mod feedback;
mod gates;
mod prepare;
mod report;
mod scenarios;

use super::{Handler, Run};

/// Returns every handler.
pub fn all() -> Vec<Box<dyn Handler<Run>>> {
    vec![
        Box::new(prepare::Prepare),
        Box::new(gates::Gates),
        Box::new(scenarios::Scenarios),
        Box::new(decide::Decide),
        Box::new(feedback::Feedback),
        Box::new(agent::Agent),
        Box::new(deliver::Deliver),
        Box::new(report::Report),
    ]
}

/// Returns the types of node that have a handler, for the validation of graphs.
pub fn kinds() -> Vec<&'static str> {
    all().iter().map(|handler| handler.kind()).collect()
}

#[cfg(test)]
mod tests {
    use crate::pipeline::{BUILTIN, validate};

    #[test]
    fn every_type_of_the_built_in_graphs_is_handled() {
        for (name, graph) in BUILTIN {
            assert_eq!(validate(&graph(), &super::kinds()), [], "{name}");
        }
    }
}
