//! Which turn of the script a request belongs to, and what it is answered: decided from what the request
//! holds, without a connection in sight.
//!
//! A turn is one conversation of one process. A request that holds no answer of the model's yet begins the
//! next one, unless it is the same process asking the same again, because the answer was of no use to it.

use std::sync::Arc;

use super::script::Step;

/// What a request asks, whatever its protocol.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Asked {
    /// The model.
    pub(super) model: Option<String>,
    /// Whether the answer is to come as a stream.
    pub(super) streams: bool,
    /// What the process calls its conversation; none where it does not say.
    pub(super) session: Option<String>,
    /// The tools that it offers, with the schemas of their arguments.
    pub(super) tools: Vec<(String, serde_json::Value)>,
    /// What was said before, oldest first.
    pub(super) items: Vec<Item>,
}

/// A part of a conversation, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A person's words.
    User(String),
    /// An answer of the model's.
    Assistant,
    /// What came of a tool.
    Result,
}

/// What a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    /// The turn, from 1; none where it belongs to none.
    pub(super) turn: Option<usize>,
    /// The answer.
    pub(super) step: Arc<Step>,
}

/// The turns of a script, and how far each has come.
#[derive(Debug)]
pub(super) struct Turns {
    script: Vec<Vec<Arc<Step>>>,
    begun: Vec<Conversation>,
    aside: Arc<Step>,
    over: Arc<Step>,
}

/// A turn that has begun; its place in the list is its place in the script, or past its end.
#[derive(Debug)]
struct Conversation {
    session: Option<String>,
    opening: Vec<String>,
    served: usize,
    failed: bool,
}

impl Turns {
    /// Returns the turns of `script`, none of them begun.
    pub(super) fn new(script: Vec<Vec<Arc<Step>>>) -> Self {
        let aside = Arc::new(Step::saying("A short answer"));
        let over = Arc::new(Step::saying("Nothing is left to do."));
        Self { script, begun: Vec::new(), aside, over }
    }

    /// Answers a request, and notes how far its turn has come.
    pub(super) fn answer(&mut self, asked: &Asked) -> Answered {
        // Titles, summaries, probes of a quota: whoever means to work brings tools.
        if asked.tools.is_empty() {
            return Answered { turn: None, step: self.aside.clone() };
        }
        let opening = opening(&asked.items);
        let at = match self.going_on(asked, &opening) {
            Some(at) => at,
            None => {
                let session = asked.session.clone();
                self.begun.push(Conversation { session, opening, served: 0, failed: false });
                self.begun.len() - 1
            }
        };
        let step = self.next(at);
        let conversation = &mut self.begun[at];
        conversation.served += 1;
        conversation.failed = step.fails();
        let turn = (at < self.script.len() && step.number > 0).then_some(at + 1);
        Answered { turn, step }
    }

    /// Returns the turn that a request goes on with; none where it begins one.
    fn going_on(&self, asked: &Asked, opening: &[String]) -> Option<usize> {
        let same = |one: &Conversation| one.session == asked.session && one.opening == opening;
        let known = self.begun.iter().rposition(same);
        if !asked.items.iter().any(|item| !matches!(item, Item::User(_))) {
            let at = known?;
            let one = &self.begun[at];
            // Where processes have no names, another one that asks the same looks like a retry: it is taken
            // for one while there is something to retry.
            let retries = one.session.is_some()
                || (one.failed && (!self.is_over(at) || self.begun.len() >= self.script.len()));
            return retries.then_some(at);
        }
        let like = |one: &Conversation| one.opening == opening;
        let last = self.begun.len().checked_sub(1);
        let at = known.or_else(|| self.begun.iter().rposition(like)).or(last)?;
        // A person who says more when the turn is over: a conversation that was resumed.
        let resumed = matches!(asked.items.last(), Some(Item::User(_)))
            && self.is_over(at)
            && !self.begun[at].failed
            && self.begun.len() < self.script.len();
        (!resumed).then_some(at)
    }

    /// Returns whether all replies of the turn were given.
    fn is_over(&self, at: usize) -> bool {
        self.script.get(at).is_none_or(|turn| self.begun[at].served >= turn.len())
    }

    fn next(&self, at: usize) -> Arc<Step> {
        let Some(turn) = self.script.get(at) else { return self.over.clone() };
        match (turn.get(self.begun[at].served), turn.last()) {
            (Some(step), _) => step.clone(),
            // A provider that has failed goes on failing.
            (None, Some(last)) if last.fails() => last.clone(),
            (None, _) => self.over.clone(),
        }
    }
}

/// Returns what a person said before the model's first answer: what tells conversations apart.
fn opening(items: &[Item]) -> Vec<String> {
    let said = |item: &Item| match item {
        Item::User(text) => Some(text.clone()),
        Item::Assistant | Item::Result => None,
    };
    items.iter().map_while(said).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::script::Script;
    use super::*;

    const SCRIPT: &str = "
turns:
- replies: [{status: 500}, {run: one}, {say: first}]
- replies: [{run: two}, {say: second}]
- replies: [{status: 401}]
";

    /// `S:UAR` is a request of session `S` which holds a person's words, an answer and a result; a small
    /// letter is other words of a person. Returns `TURN.REPLY` of each, `-` where it is none.
    fn check(requests: &str, expected: &str) {
        let script = Script::parse(SCRIPT, Path::new("")).unwrap();
        let mut turns = Turns::new(script.turns);
        let mut found = Vec::new();
        for request in requests.split(' ') {
            let (session, items) = request.split_once(':').unwrap();
            let answered = turns.answer(&Asked {
                session: (!session.is_empty()).then(|| session.to_owned()),
                tools: vec![("Bash".to_owned(), json!({}))],
                items: items
                    .chars()
                    .map(|item| match item {
                        'A' => Item::Assistant,
                        'R' => Item::Result,
                        words => Item::User(words.to_string()),
                    })
                    .collect(),
                ..Asked::default()
            });
            found.push(match answered.turn {
                Some(turn) => format!("{turn}.{}", answered.step.number),
                None => "-".to_owned(),
            });
        }
        assert_eq!(found.join(" "), expected, "{requests}");
    }

    #[test]
    fn a_process_that_asks_again_stays_in_its_turn() {
        check("s:U s:U s:UAR", "1.1 1.2 1.3");
        // It has thrown away what it could not read, or kept it.
        check("s:U s:U s:U s:UA", "1.1 1.2 1.3 -");
    }

    #[test]
    fn another_process_begins_the_next_turn() {
        check("s:U t:U t:UAR u:U u:U v:U", "1.1 2.1 2.2 3.1 3.1 -");
        check("s:U s:V s:UA", "1.1 2.1 1.2");
    }

    #[test]
    fn without_names_the_same_words_after_a_failure_are_a_retry() {
        check(":U :U :UAR :U :UAR", "1.1 1.2 1.3 2.1 2.2");
        check(":U :V :W :W", "1.1 2.1 3.1 3.1");
    }

    #[test]
    fn conversations_at_the_same_time_are_told_apart() {
        check("s:U t:V t:VAR s:UA s:UAAR", "1.1 2.1 2.2 1.2 1.3");
    }

    #[test]
    fn a_resumed_conversation_is_a_turn() {
        check("s:U s:U s:UAR s:UARAU s:UARAUAR", "1.1 1.2 1.3 2.1 2.2");
        // Somebody whose opening nobody knows goes on where the last was.
        check("s:U t:VAR", "1.1 1.2");
    }

    #[test]
    fn a_script_that_is_over_leaves_nothing_to_do() {
        check("a:U b:U c:U d:U d:UA", "1.1 2.1 3.1 - -");
        check("b:U b:U b:UAR b:UARA", "1.1 1.2 1.3 -");
    }

    #[test]
    fn a_request_without_tools_takes_no_turn() {
        let mut turns = Turns::new(vec![vec![Arc::new(Step { number: 1, ..Step::saying("a") })]]);
        let items = vec![Item::User("Generate a title".to_owned())];
        let answered = turns.answer(&Asked { items: items.clone(), ..Asked::default() });
        assert_eq!(answered.turn, None);
        let tools = vec![("Bash".to_owned(), json!({}))];
        let answered = turns.answer(&Asked { items, tools, ..Asked::default() });
        assert_eq!(answered.turn, Some(1));
    }
}
