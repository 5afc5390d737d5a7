//! A tokenizer and a parser that are equals: each runs until it has something for the other, or wants
//! something of it, and transfers control. Neither is the other's function.
//!
//! ```text
//! cargo run --release --example transfer
//! ```
//!
//! It computes expressions such as `2 * (3 + 4)`.

use roving::coroutine::{self, Next, Peer, Transfer};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Number(f64),
    Sign(char),
    End,
}

type Answer = Result<f64, String>;

/// What the parser has: the current token, and the tokenizer.
struct Parser<'a, 's> {
    token: Token,
    transfer: &'a Transfer<'a, 's, Token, Answer>,
    tokenizer: Peer<'s, (), Answer>,
}

impl Parser<'_, '_> {
    /// Gives the current token, and asks for the next one.
    fn advance(&mut self) -> Token {
        let next = self.transfer.transfer(self.tokenizer, ());
        std::mem::replace(&mut self.token, next)
    }

    fn sum(&mut self) -> Answer {
        let mut sum = self.product()?;
        while let Token::Sign(sign @ ('+' | '-')) = self.token {
            self.advance();
            let product = self.product()?;
            sum += if sign == '+' { product } else { -product };
        }
        Ok(sum)
    }

    fn product(&mut self) -> Answer {
        let mut product = self.factor()?;
        while let Token::Sign(sign @ ('*' | '/')) = self.token {
            self.advance();
            let factor = self.factor()?;
            product *= if sign == '*' { factor } else { factor.recip() };
        }
        Ok(product)
    }

    fn factor(&mut self) -> Answer {
        match self.advance() {
            Token::Number(number) => Ok(number),
            Token::Sign('(') => {
                let sum = self.sum()?;
                match self.advance() {
                    Token::Sign(')') => Ok(sum),
                    other => Err(format!("`)` was expected, and there is {other:?}")),
                }
            }
            other => Err(format!("a number was expected, and there is {other:?}")),
        }
    }
}

fn evaluate(text: &str) -> Answer {
    coroutine::scope(|scope| {
        let (tokenizer, parser) = (scope.peer(), scope.peer());
        tokenizer.does(move |transfer, ()| {
            let mut rest = text.trim_start();
            while let Some(first) = rest.chars().next() {
                let of_number = |c: char| c.is_ascii_digit() || c == '.';
                let length = rest.find(|c| !of_number(c)).unwrap_or(rest.len());
                let (token, length) = match rest[..length].parse() {
                    Ok(number) => (Token::Number(number), length),
                    Err(_) => (Token::Sign(first), first.len_utf8()),
                };
                transfer.transfer(parser, token);
                rest = rest[length..].trim_start();
            }
            loop {
                transfer.transfer(parser, Token::End);
            }
        });
        parser.does(move |transfer, token| {
            let mut parser = Parser {
                token,
                transfer,
                tokenizer,
            };
            let answer = parser.sum();
            Next::Back(match (answer, parser.token) {
                (Ok(value), Token::End) => Ok(value),
                (Ok(_), other) => Err(format!("the end was expected, and there is {other:?}")),
                (error, _) => error,
            })
        });
        // The tokenizer finds the first token, and nobody has asked for it.
        tokenizer.enter(())
    })
}

fn main() {
    let expressions = [
        "1 + 2 * 3",
        "2 * (3 + 4) - 10 / 4",
        "((7))",
        "2 * (3 + 4",
        "1 2",
    ];
    let answers = expressions.map(evaluate);
    for (expression, answer) in expressions.iter().zip(&answers) {
        match answer {
            Ok(value) => println!("{expression} = {value}"),
            Err(error) => println!("{expression}: {error}"),
        }
    }
    assert_eq!(answers[..3], [Ok(7.0), Ok(11.5), Ok(7.0)]);
    assert!(answers[3..].iter().all(Result::is_err));
}
