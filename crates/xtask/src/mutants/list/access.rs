//! Breakages of who may come in, and of the ways beside the socket: logins, lists, streams, the HTTP API.

use super::{CaughtBy, Mutant};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "protocol: a browser tells the bot what people have said",
        file: "crates/protocol/src/request/fields.rs",
        find: "        attributes.remove(HAND_BACK);\n",
        replace: "",
        caught_by: CaughtBy::TestOf {
            package: "stentor-protocol",
            target: "lib",
            filter: "i18_what_people_said_is_never_told_by_a_browser",
        },
    },
    Mutant {
        name: "gateway: a login link is good for ever",
        file: "crates/gateway/src/identify/login.rs",
        find: "if before.is_some() { Err(LoginError::Spent) }",
        replace: "if before == Some(0) { Err(LoginError::Spent) }",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "fallback",
            filter: "s1_a_login_link_works_once_and_only_here",
        },
    },
    Mutant {
        name: "gateway: other people's pages log somebody in",
        file: "crates/gateway/src/http/login.rs",
        find: "origin.is_missing() || origin.is_own(request.headers(), encrypted)",
        replace: "origin.is_missing() || encrypted != origin.is_own(request.headers(), !encrypted)",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "fallback",
            filter: "s1_a_login_link_works_once_and_only_here",
        },
    },
    Mutant {
        name: "gateway: a login cookie counts on every page",
        file: "crates/gateway/src/http/handshake.rs",
        find: "let login = if own { login_cookie(headers) } else { None };",
        replace: "let login = if own || second { login_cookie(headers) } else { None };",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "fallback",
            filter: "s1_a_login_link_works_once_and_only_here",
        },
    },
    Mutant {
        name: "gateway: whoever says so is an agent in the published widget",
        file: "crates/gateway/src/legacy/connection.rs",
        find: "Some(principal) if unknown.is_admin && principal.is_staff() => {",
        replace: "Some(principal) if unknown.is_admin => {",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "fallback",
            filter: "s1_saying_is_admin_grants_nothing",
        },
    },
    Mutant {
        name: "gateway: a revoked token is good",
        file: "crates/gateway/src/identify/principal.rs",
        find: "app.keys.get(key).is_some() && !app.has_revoked(",
        replace: "app.keys.get(key).is_some() || app.has_revoked(",
        caught_by: CaughtBy::Test {
            package: "stentor",
            filter: "s16_who_is_revoked_is_closed_and_stays_out",
        },
    },
    Mutant {
        name: "gateway: lists are for everybody",
        file: "crates/gateway/src/v2/lists.rs",
        find: "        if !principal.is_staff() {\n            return refuse(Code::Forbidden, Code::Forbidden.advice());",
        replace: "        if !principal.may_work() {\n            return refuse(Code::Forbidden, Code::Forbidden.advice());",
        caught_by: CaughtBy::Test {
            package: "stentor",
            filter: "lists_are_for_staff_and_bad_requests_are_refused_by_name",
        },
    },
    Mutant {
        name: "gateway: an exchange says something before the session is open",
        file: "crates/gateway/src/v2/line.rs",
        find: "if matches!(self.out, Out::Exchange { .. }) && !self.handler.is_quiet() {",
        replace: "if matches!(self.out, Out::Stream { .. }) && !self.handler.is_quiet() {",
        caught_by: CaughtBy::Test {
            package: "stentor",
            filter: "p5_streams_and_exchanges_keep_every_promise_of_a_socket_over_cuts_and_kills",
        },
    },
    Mutant {
        name: "gateway: a page of an agent that was loaded anew has still joined",
        file: "crates/gateway/src/legacy/member.rs",
        find: "self.queue.push(Inbound::Control(again, false));",
        replace: "drop(again);",
        caught_by: CaughtBy::Test {
            package: "stentor",
            filter: "a_published_widget_on_our_page_joins_talks_and_leaves_as_an_agent",
        },
    },
    Mutant {
        name: "gateway: an idempotency key means nothing",
        file: "crates/gateway/src/http/api.rs",
        find: "Ok(format!(\"{:032x}\", xxh3_128(&named)))",
        replace: "Ok(format!(\"{:032x}\", xxh3_128(&named) ^ random()))",
        caught_by: CaughtBy::Test {
            package: "stentor",
            filter: "a_program_lists_reads_takes_over_posts_exports_and_ends",
        },
    },
    Mutant {
        name: "gateway: the HTTP API is for visitors, too",
        file: "crates/gateway/src/http/api.rs",
        find: "    if !principal.is_staff() {\n        return Err(refused(Code::Forbidden));",
        replace: "    if !principal.may_work() {\n        return Err(refused(Code::Forbidden));",
        caught_by: CaughtBy::Test {
            package: "stentor",
            filter: "whoever_may_not_gets_nothing_and_every_mistake_has_a_name",
        },
    },
    Mutant {
        name: "router: a list forgets the words of a search",
        file: "crates/router/src/searching.rs",
        find: ".all(|place| self.words",
        replace: ".any(|place| self.words",
        caught_by: CaughtBy::TestOf {
            package: "stentor-router",
            target: "lib",
            filter: "a_search_wants_every_word_somewhere",
        },
    },
    Mutant {
        name: "router: a search looks at the last message only",
        file: "crates/router/src/lists.rs",
        find: ".filter(|_| !wanted.are_in(&words, &said))",
        replace: ".filter(|_| !words.is_empty() || wanted.are_in(&words, &said))",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "lists",
            filter: "a_search_finds_a_session_by_what_was_said_lately",
        },
    },
    Mutant {
        name: "gateway: mistakes in the API are told to people",
        file: "crates/gateway/src/http/api.rs",
        find: "NoRoute::Method(allowed) => answer::no_method(allowed),",
        replace: "NoRoute::Method(allowed) => answer::wrong_method(allowed),",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "api",
            filter: "whoever_may_not_gets_nothing_and_every_mistake_has_a_name",
        },
    },
    Mutant {
        name: "gateway: the head of a request may be longer",
        file: "crates/gateway/src/http.rs",
        find: ".max_header_size(HEAD_BYTES_MAX)",
        replace: ".max_header_size(HEAD_BYTES_MAX + 1)",
        caught_by: CaughtBy::TestOf {
            package: "stentor-gateway",
            target: "gateway",
            filter: "s11_a_head_of_8_kib_is_served_and_one_byte_more_is_refused",
        },
    },
    Mutant {
        name: "gateway: a slow handshake is waited for",
        file: "crates/gateway/src/http.rs",
        find: ".header_read_timeout(HEADER_WAIT)",
        replace: ".header_read_timeout(HEADER_WAIT * 1_000)",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "neighbours",
            filter: "s11_five_thousand_slow_handshakes",
        },
    },
    Mutant {
        name: "gateway: a fifth more is let through than allowed",
        file: "crates/gateway/src/limits/bucket.rs",
        find: ".mul_add(rate, self.tokens)",
        replace: ".mul_add(rate * 1.2, self.tokens)",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "neighbours",
            filter: "s12_a_flood",
        },
    },
    Mutant {
        name: "connector: one app may have all calls",
        file: "crates/connector/src/lanes.rs",
        find: "per_app_max: (slots / 8).max(1)",
        replace: "per_app_max: slots.max(1)",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "neighbours",
            filter: "i14_a_bot_that_never_answers",
        },
    },
    Mutant {
        name: "tokens: a login code is a token",
        file: "crates/tokens/src/claims.rs",
        find: "if claims.purpose == purpose { Ok((claims, key)) }",
        replace: "if claims.purpose == purpose || purpose.is_none() { Ok((claims, key)) }",
        caught_by: CaughtBy::Test {
            package: "stentor-tokens",
            filter: "s4_a_login_code_is_no_token_and_a_token_is_no_login_code",
        },
    },
    Mutant {
        name: "gateway: a message with the number zero is acknowledged",
        file: "crates/gateway/src/v2/frames.rs",
        find: "if send.mid == 0 {",
        replace: "if false {",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "clumsy",
            filter: "p1_a_message_with_the_number_zero_is_refused_and_not_acknowledged",
        },
    },
    Mutant {
        name: "gateway: a message that cannot be read has no answer",
        file: "crates/gateway/src/v2/connection.rs",
        find: "Err(error) if error.message.is_some() => {",
        replace: "Err(error) if error.is_too_long => {",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "clumsy",
            filter: "a_message_too_long_or_misshapen_is_refused_under_its_number_and_the_next_one_is_taken",
        },
    },
    Mutant {
        name: "gateway: a stranger learns who has a session",
        file: "crates/gateway/src/v2/answers.rs",
        find: "Code::Forbidden if !is_staff => Code::NoSession,",
        replace: "Code::Forbidden if is_staff => Code::NoSession,",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "clumsy",
            filter: "s3_a_stranger_cannot_tell_a_session_from_none",
        },
    },
    Mutant {
        name: "gateway: a token of another app is as good as an old one",
        file: "crates/gateway/src/v2/closing.rs",
        find: "TokenError::Audience => FORBIDDEN,",
        replace: "TokenError::Audience => UNAUTHORISED,",
        caught_by: CaughtBy::TestOf {
            package: "stentor",
            target: "clumsy",
            filter: "s6_an_agent_of_one_app_sees_and_does_nothing_in_another",
        },
    },
    Mutant {
        name: "tokens: a token is good before its time",
        file: "crates/tokens/src/claims.rs",
        find: "validation.validate_nbf = true;",
        replace: "validation.validate_nbf = false;",
        caught_by: CaughtBy::Test {
            package: "stentor-tokens",
            filter: "s4_a_token_is_not_believed_before_its_time",
        },
    },
];
