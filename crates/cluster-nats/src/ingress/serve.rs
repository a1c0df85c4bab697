//! The owner's side: takes what arrives for one partition to the router, and the answers back.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use prost::Message as _;
use stentor_cluster::IngressRequest;
use stentor_types::Partition;
use stentor_wire::pb;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{debug, error, warn};

use super::{BUSY, Caller, PAGE, REFUSED, SAYS, TERM, UNKNOWN, pages};
use crate::{connect::Connection, members::Members, metrics::RouterMetrics, ownership::Holdings};

/// Requests of one partition that the router may be working on; beyond it, it is busy. The connections
/// of a partition's visitors have one request each.
const OPEN_MAX: usize = 16_384;

/// What every partition's service needs. A clone is a handle to the same router.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) connection: Connection,
    pub(crate) members: Members,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) requests: mpsc::Sender<IngressRequest>,
    pub(crate) metrics: RouterMetrics,
}

/// The service of one partition. Dropping it ends it at once, and answers nobody any more.
#[derive(Debug)]
pub(crate) struct Serving {
    finish: CancellationToken,
    give_up: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

struct Service {
    desk: Desk,
    partition: Partition,
    term: u64,
    finish: CancellationToken,
    open: FuturesUnordered<Answering>,
}

/// What became of a request; an error if the router dropped it.
type Answer = Result<Bytes, oneshot::error::RecvError>;

/// A request that the router is working on.
struct Answering {
    reply: Subject,
    answer: oneshot::Receiver<Bytes>,
}

// === impl Desk ===

impl Desk {
    /// Begins to take requests for a partition.
    pub(crate) fn serve(&self, partition: Partition, term: u64) -> Serving {
        let (finish, give_up) = (CancellationToken::new(), CancellationToken::new());
        let service = Service {
            desk: self.clone(),
            partition,
            term,
            finish: finish.clone(),
            open: FuturesUnordered::new(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(service.run(give_up.clone())));
        Serving { finish, give_up, _task: task }
    }
}

// === impl Serving ===

impl Serving {
    /// Whatever arrives from now on is sent away; what was taken is still answered.
    pub(crate) fn finish(&self) {
        self.finish.cancel();
    }

    /// What the router has not answered by now it will not answer: whoever waits has to ask again. From
    /// now on it only sends away, so that nobody's request is lost between two owners.
    pub(crate) fn give_up(&self) {
        self.finish.cancel();
        self.give_up.cancel();
    }
}

// === impl Service ===

impl Service {
    /// Inputs of the loop:
    /// - requests: from gateways, from connectors, and from operators, who may ask and erase;
    /// - open: answers of the router;
    /// - give up: nothing more comes from the router.
    ///
    /// It goes on until it is dropped, or the connection is closed.
    async fn run(mut self, give_up: CancellationToken) {
        let client = self.desk.connection.client();
        let gateways = client.subscribe(Caller::Gateways.subject(self.partition)).await;
        let connectors = client.subscribe(Caller::Connectors.subject(self.partition)).await;
        let operators = client.subscribe(Caller::Operators.subject(self.partition)).await;
        let (Ok(mut gateways), Ok(mut connectors), Ok(mut operators)) =
            (gateways, connectors, operators)
        else {
            warn!(partition = %self.partition, "requests cannot be listened to: the connection is closed");
            return;
        };
        let mut has_given_up = false;
        loop {
            tokio::select! {
                Some(request) = gateways.next() => self.take(request, false).await,
                Some(request) = connectors.next() => self.take(request, false).await,
                Some(request) = operators.next() => {
                    if is_an_operators(&request) {
                        self.take(request, true).await;
                    }
                }
                Some((reply, answer)) = self.open.next() => self.answer(reply, answer).await,
                () = give_up.cancelled(), if !has_given_up => {
                    has_given_up = true;
                    for Answering { reply, mut answer } in std::mem::take(&mut self.open) {
                        match answer.try_recv() {
                            Ok(answer) => self.answer(reply, Ok(answer)).await,
                            Err(_) => self.say(reply, Some(UNKNOWN), Bytes::new()).await,
                        }
                    }
                }
                else => return,
            }
        }
    }

    async fn take(&mut self, message: Message, operator: bool) {
        let Some(reply) = message.reply else { return };
        // This process or its line was away: what waited meanwhile has been asked again, perhaps of
        // somebody else, and is no longer this router's to answer.
        if self.may_be_stale() {
            self.desk.metrics.requests.with_label_values(&["stale"]).inc();
            return;
        }
        let (answer, answered) = oneshot::channel();
        let (partition, request) = (self.partition, message.payload);
        let request = IngressRequest { partition, request, operator, answer };
        let is_taken = !self.finish.is_cancelled()
            && self.open.len() < OPEN_MAX
            && self.desk.requests.try_send(request).is_ok();
        if is_taken {
            self.desk.metrics.requests_taken.inc();
            self.open.push(Answering { reply, answer: answered });
        } else {
            self.desk.metrics.requests.with_label_values(&["busy"]).inc();
            self.say(reply, Some(BUSY), Bytes::new()).await;
        }
    }

    fn may_be_stale(&self) -> bool {
        let Desk { members, holdings, .. } = &self.desk;
        // In this order: a heartbeat that ends a silence counts after the lapse is counted. What was given
        // up is nobody's yet, perhaps, and whoever asks for it has to hear so.
        !members.is_fresh()
            || (!self.finish.is_cancelled() && !holdings.is_sure(self.partition, members.lapses()))
    }

    async fn answer(&self, reply: Subject, answer: Answer) {
        let Ok(answer) = answer else {
            self.desk.metrics.requests.with_label_values(&["dropped"]).inc();
            return self.say(reply, Some(UNKNOWN), Bytes::new()).await;
        };
        let bytes = answer.len();
        let Some(pages) = pages::split(answer) else {
            error!(partition = %self.partition, bytes, "an answer is too large to be sent");
            return self.say(reply, Some(REFUSED), Bytes::new()).await;
        };
        let count = pages.len();
        if count == 1 {
            for page in pages {
                self.say(reply.clone(), None, page).await;
            }
            return;
        }
        for (number, page) in pages.into_iter().enumerate() {
            self.say(reply.clone(), Some(&format!("{PAGE} {number} {count}")), page).await;
        }
    }

    async fn say(&self, reply: Subject, says: Option<&str>, payload: Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(TERM, self.term.to_string());
        if let Some(says) = says {
            headers.insert(SAYS, says);
        }
        let client = self.desk.connection.client();
        if let Err(cause) = client.publish_with_headers(reply, headers, payload).await {
            debug!(%cause, "an answer could not be sent");
        }
    }
}

/// Whether a request is one of those that operators have. None of them acts for a visitor.
fn is_an_operators(message: &Message) -> bool {
    use pb::request::Kind;
    let request = pb::Request::decode(message.payload.clone());
    request.is_ok_and(|request| matches!(request.kind, Some(Kind::Explain(_) | Kind::Erase(_))))
}

// === impl Answering ===

impl Future for Answering {
    type Output = (Subject, Answer);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map(|answer| (self.reply.clone(), answer))
    }
}

#[cfg(test)]
mod tests {
    use pb::request::Kind;

    use super::*;

    fn message(payload: Vec<u8>) -> Message {
        Message {
            subject: "in.o.7".into(),
            reply: None,
            length: payload.len(),
            payload: payload.into(),
            headers: None,
            status: None,
            description: None,
        }
    }

    #[test]
    fn s17_an_operator_may_ask_and_erase_and_cannot_act() {
        let asks = |kind| {
            let request = pb::Request { kind, ..Default::default() };
            is_an_operators(&message(request.encode_to_vec()))
        };
        assert!(asks(Some(Kind::Explain(pb::ExplainRequest::default()))));
        assert!(asks(Some(Kind::Erase(pb::EraseRequest::default()))));
        for kind in [
            Kind::Connection(pb::ConnectionRequest::default()),
            Kind::Outcome(pb::OutcomeRequest::default()),
            Kind::Fetch(pb::FetchRequest::default()),
            Kind::List(pb::ListRequest::default()),
            Kind::Signal(pb::SignalRequest::default()),
        ] {
            assert!(!asks(Some(kind)));
        }
        assert!(!asks(None));
        assert!(!is_an_operators(&message(vec![0xff])));
    }
}
