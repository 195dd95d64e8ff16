//! From words and signs to a tree, with everything that is wrong at once.

use muster_model::{Value, nearest};

use crate::functions::{self, WORDS};
use crate::lexer::{Lexeme, Token, split};
use crate::node::{Comparator, Kind, Node, Span};
use crate::{ExpressionError, MAX_DEPTH};

const EXPECTED: &str = "expected a function, [attribute], or a constant in double quotes";

/// Reads a whole expression.
pub(crate) fn parse(text: &str) -> Result<Node, Vec<ExpressionError>> {
    let mut errors = Vec::new();
    let lexemes = split(text, &mut errors);
    if lexemes.is_empty() && errors.is_empty() {
        let problem = format!("the expression is empty; {EXPECTED}");
        return Err(vec![ExpressionError { at: 0, length: 1, problem }]);
    }
    let end = text.trim_end().chars().count();
    let mut parser = Parser { lexemes: &lexemes, next: 0, end, errors, gave_up: false };
    let root = parser.comparison(0);
    if let Some(lexeme) = parser.peek().cloned() {
        let rest: String = text.chars().skip(lexeme.span.start).take(40).collect();
        let problem = parser
            .joined_conditions(&lexeme.token)
            .unwrap_or_else(|| format!("nothing was expected after the end, but found {:?}", rest.trim()));
        parser.fail(Span { start: lexeme.span.start, length: end - lexeme.span.start }, problem);
    }
    if let Kind::Compare(..) = &root.kind {
        parser.fail(root.span, "a comparison stands only in the first argument of IIF or CBool");
    }
    let mut errors = parser.errors;
    only_at_the_top(&root, &mut errors);
    errors.sort_by_key(|error| error.at);
    if errors.is_empty() { Ok(root) } else { Err(errors) }
}

fn only_at_the_top(root: &Node, errors: &mut Vec<ExpressionError>) {
    root.visit(&mut |node| {
        if let Kind::Call(function, _) = &node.kind
            && function.name == "SelectUniqueValue"
            && !std::ptr::eq(node, root)
        {
            let problem = "SelectUniqueValue must be the outermost function".to_owned();
            errors.push(ExpressionError { at: node.span.start, length: node.span.length, problem });
        }
    });
}

struct Parser<'a> {
    lexemes: &'a [Lexeme],
    next: usize,
    /// Where the text ends, in characters.
    end: usize,
    errors: Vec<ExpressionError>,
    /// Nested too deep to read on.
    gave_up: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Lexeme> {
        self.lexemes.get(self.next)
    }

    fn take_if(&mut self, wanted: &Token) -> Option<Span> {
        let lexeme = self.peek().filter(|lexeme| lexeme.token == *wanted)?;
        let span = lexeme.span;
        self.next += 1;
        Some(span)
    }

    fn here(&self) -> Span {
        self.peek().map_or(Span { start: self.end, length: 1 }, |lexeme| lexeme.span)
    }

    fn fail(&mut self, span: Span, problem: impl Into<String>) {
        let length = span.length.max(1);
        self.errors.push(ExpressionError { at: span.start, length, problem: problem.into() });
    }

    /// What stands for a part that was reported as wrong already.
    fn unusable(span: Span) -> Node {
        Node { kind: Kind::Attribute("".into()), span }
    }

    fn joined_conditions(&self, token: &Token) -> Option<String> {
        let Token::Name(name) = token else { return None };
        ["and", "or"]
            .contains(&name.to_lowercase().as_str())
            .then(|| format!("{} is not part of the language; nest one IIF in another", name.to_uppercase()))
    }

    fn comparison(&mut self, depth: usize) -> Node {
        let left = self.operand(depth);
        let Some(Token::Comparator(comparator)) = self.peek().map(|lexeme| &lexeme.token) else { return left };
        let comparator: Comparator = *comparator;
        self.next += 1;
        let right = self.operand(depth);
        let span = left.span.to(right.span);
        Node { kind: Kind::Compare(comparator, Box::new((left, right))), span }
    }

    fn operand(&mut self, depth: usize) -> Node {
        let Some(lexeme) = self.peek().cloned() else {
            let here = self.here();
            self.fail(here, format!("something is missing here; {EXPECTED}"));
            return Self::unusable(here);
        };
        let span = lexeme.span;
        let kind = match lexeme.token {
            Token::Attribute(name) => Kind::Attribute(name.into()),
            Token::Text(text) => Kind::Constant(Value::Text(text.into())),
            Token::Number(value) => Kind::Constant(value),
            Token::Name(name) => {
                self.next += 1;
                return self.name(&name, span, depth);
            }
            Token::Close | Token::Comma => {
                // Left for whoever reads the arguments.
                self.fail(span, EXPECTED);
                return Self::unusable(span);
            }
            Token::Open | Token::Comparator(_) => {
                self.next += 1;
                self.fail(span, EXPECTED);
                return Self::unusable(span);
            }
        };
        self.next += 1;
        Node { kind, span }
    }

    fn name(&mut self, name: &str, span: Span, depth: usize) -> Node {
        if self.peek().is_some_and(|lexeme| lexeme.token == Token::Open) {
            return self.call(name, span, depth);
        }
        if name.eq_ignore_ascii_case("true") || name.eq_ignore_ascii_case("false") {
            let truth = name.eq_ignore_ascii_case("true");
            return Node { kind: Kind::Constant(Value::Boolean(truth)), span };
        }
        if let Some(word) = WORDS.iter().find(|word| word.eq_ignore_ascii_case(name)) {
            return Node { kind: Kind::Word(word), span };
        }
        let problem = if let Some(function) = functions::find(name) {
            format!("{0} is a function; write {0}()", function.name)
        } else if name.eq_ignore_ascii_case("null") {
            "there is no word for null; leave the argument empty".to_owned()
        } else {
            format!("{EXPECTED}; write [{name}] for the attribute or \"{name}\" for the text")
        };
        self.fail(span, problem);
        Self::unusable(span)
    }

    fn call(&mut self, name: &str, start: Span, depth: usize) -> Node {
        let function = functions::find(name);
        if function.is_none() {
            let near = nearest(name, functions::all().map(|function| function.name));
            let hint = near.map_or_else(
                || "docs/expressions.md lists those there are".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            self.fail(start, format!("there is no function {name}; {hint}"));
        }
        let open = self.here();
        self.next += 1;
        if depth >= MAX_DEPTH {
            self.fail(start, format!("functions are nested more than {MAX_DEPTH} deep"));
            self.next = self.lexemes.len();
            self.gave_up = true;
            return Self::unusable(start);
        }
        let (mut arguments, end) = self.arguments(name, open, depth + 1);
        let span = start.to(end);
        let Some(function) = function else { return Self::unusable(span) };
        functions::check::arguments(function, &mut arguments, span, &mut self.errors);
        Node { kind: Kind::Call(function, arguments), span }
    }

    /// The arguments, and the closing parenthesis.
    fn arguments(&mut self, name: &str, open: Span, depth: usize) -> (Vec<Node>, Span) {
        let mut arguments = Vec::new();
        if let Some(close) = self.take_if(&Token::Close) {
            return (arguments, close);
        }
        loop {
            arguments.push(self.argument(depth));
            if self.take_if(&Token::Comma).is_some() {
                continue;
            }
            if let Some(close) = self.take_if(&Token::Close) {
                return (arguments, close);
            }
            let here = self.here();
            let Some(lexeme) = self.peek().cloned() else {
                if self.gave_up {
                    return (arguments, here);
                }
                self.fail(open, format!("the closing ) of {name} is missing"));
                return (arguments, here);
            };
            let problem = self.joined_conditions(&lexeme.token);
            self.fail(here, problem.unwrap_or_else(|| format!("expected a comma or the closing ) of {name}")));
            self.skip_argument();
            if self.take_if(&Token::Comma).is_none() {
                let close = self.take_if(&Token::Close).unwrap_or(here);
                return (arguments, close);
            }
        }
    }

    fn argument(&mut self, depth: usize) -> Node {
        match self.peek() {
            Some(Lexeme { token: Token::Comma | Token::Close, span }) => {
                Node { kind: Kind::Empty, span: Span { start: span.start, length: 0 } }
            }
            Some(_) => self.comparison(depth),
            // Whoever reads the arguments says that the end is missing.
            None => Self::unusable(self.here()),
        }
    }

    /// Passes what is left of an argument that is not understood.
    fn skip_argument(&mut self) {
        let mut depth = 0_usize;
        while let Some(lexeme) = self.peek() {
            match lexeme.token {
                Token::Open => depth += 1,
                Token::Close | Token::Comma if depth == 0 => return,
                Token::Close => depth -= 1,
                _ => {}
            }
            self.next += 1;
        }
    }
}
