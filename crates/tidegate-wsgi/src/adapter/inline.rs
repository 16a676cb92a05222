//! Calls the application on the thread of the event loop: nothing is handed over, nothing waits.
//!
//! For applications that never block. While one runs, nobody else is served; in return a request costs
//! the least. The interpreter's lock is held for a turn of the loop and let go while the loop waits, so
//! that other threads of Python run then: taking it for each call would let a busy thread make every
//! request wait for its 5 ms.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use tidegate::gateway::{
    Body, BodyStream, Environ, Gateway, GatewayError, LoopHooks, Misuse, Piece, StartResponse, Writer,
};
use tidegate::message::Method;
use tidegate::now::Moment;

use super::call::CallSet;
use super::environ::Deployment;
use super::ffi::lend;
use super::head::Head;
use super::interpreter::{Interpreter, failure, runtime_error};
use super::outlet::Outlet;
use super::reply::{Opening, Reply, joined};
use super::sending::{send_file, send_nothing, send_whole};

/// A gateway to a Python application on this very thread.
pub struct Inline {
    interpreter: Interpreter,
}

impl Inline {
    /// Makes a gateway to an application, a callable as PEP 3333 defines it. It must be used on the thread
    /// that makes it.
    ///
    /// # Errors
    /// Returns the exception of Python when a preparation fails.
    pub fn new(py: Python<'_>, application: Py<PyAny>, deployment: &Deployment) -> PyResult<Inline> {
        Ok(Inline { interpreter: Interpreter::new(py, application, deployment)? })
    }

    fn answer(
        &mut self,
        py: Python<'_>,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let is_head = environ.method() == Method::HEAD;
        let interpreter = &mut self.interpreter;
        let call = interpreter.calls.begin(py).map_err(|error| failure(py, &error))?;
        let has_finished = environ.client().has_finished_sending;
        let mut outlet = Direct { response: InlineResponse::Start(start_response), has_finished };
        let opened = lend(call.owner(), &mut outlet, || interpreter.call(py, environ, &call));
        let direct = outlet.response;
        let answered = match opened.map_err(|error| failure(py, &error)) {
            Ok(Opening::First(block, reply)) => return begin_stream(py, block, reply, call, direct),
            Ok(Opening::Blocks(blocks)) if blocks.is_empty() => send(None, &call, is_head, direct),
            Ok(Opening::Blocks(blocks)) => match &blocks[..] {
                [block] => send(Some(block.as_bytes(py)), &call, is_head, direct),
                blocks => send(Some(&joined(py, blocks)), &call, is_head, direct),
            },
            Ok(Opening::Last(block)) => {
                send(block.as_ref().map(|block| block.as_bytes(py)), &call, is_head, direct)
            }
            Ok(Opening::File(range)) => match direct {
                InlineResponse::Start(start_response) => {
                    see(&call, |head| send_file(head, range, start_response))
                }
                InlineResponse::Writing(_) | InlineResponse::Lost => Err(Misuse::AlreadySent.into()),
            },
            Err(error) => Err(error),
        };
        interpreter.calls.end(py, call);
        answered
    }
}

impl Gateway for Inline {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        Python::attach(|py| self.answer(py, environ, start_response))
    }
}

/// Lets go of the interpreter's lock while the loop waits.
pub struct InlineHooks;

impl LoopHooks for InlineHooks {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        Python::attach(|py| py.detach(wait));
    }
}

/// Shows the head of a call to `look`.
fn see(call: &CallSet, look: impl FnOnce(&Head) -> Result<Body, GatewayError>) -> Result<Body, GatewayError> {
    call.with_head(|_, head| look(head)).map_err(GatewayError::from)?
}

/// Sends a response, or what is left of it.
fn send(
    content: Option<&[u8]>,
    call: &CallSet,
    is_head: bool,
    direct: InlineResponse<'_>,
) -> Result<Body, GatewayError> {
    match (direct, content) {
        (InlineResponse::Start(start_response), Some(content)) if !(is_head && content.is_empty()) => {
            see(call, |head| send_whole(head, content, start_response))
        }
        (InlineResponse::Start(start_response), _) => {
            see(call, |head| send_nothing(head, is_head, start_response))
        }
        (InlineResponse::Writing(mut writer), content) => {
            writer.write(content.unwrap_or_default())?;
            writer.finish()
        }
        (InlineResponse::Lost, _) => Err(Misuse::NotStarted.into()),
    }
}

/// Sends the first block, and leaves the iterable with the server to be drawn from.
fn begin_stream(
    py: Python<'_>,
    block: Py<PyBytes>,
    reply: Reply,
    call: CallSet,
    direct: InlineResponse<'_>,
) -> Result<Body, GatewayError> {
    let mut writer = match direct {
        InlineResponse::Start(start_response) => {
            call.with_head(|_, head| head.write(start_response).start())??
        }
        InlineResponse::Writing(writer) => writer,
        InlineResponse::Lost => return Err(Misuse::NotStarted.into()),
    };
    call.set_sent()?;
    writer.write(block.as_bytes(py))?;
    Ok(writer.stream(Iteration { reply, call, current: Current::Nothing }))
}

/// The response to the call that is running, and whether its client had ended its side when it began: until
/// the call returns nobody can know more.
struct Direct<'a> {
    response: InlineResponse<'a>,
    has_finished: bool,
}

enum InlineResponse<'a> {
    /// Nothing was sent.
    Start(StartResponse<'a>),
    /// The application has used `write()`.
    Writing(Writer<'a>),
    /// The server would not take the head.
    Lost,
}

impl Outlet for Direct<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), GatewayError> {
        let InlineResponse::Start(start_response) =
            std::mem::replace(&mut self.response, InlineResponse::Lost)
        else {
            return Err(Misuse::AlreadySent.into());
        };
        self.response = InlineResponse::Writing(head.write(start_response).start()?);
        Ok(())
    }

    fn write(&mut self, _py: Python<'_>, content: &[u8]) -> PyResult<()> {
        if let InlineResponse::Writing(writer) = &mut self.response {
            writer.write(content).map_err(|error| runtime_error(&error))?;
            writer.flush();
        }
        Ok(())
    }

    fn hint(&mut self, fields: &Head) -> Result<(), GatewayError> {
        match &mut self.response {
            InlineResponse::Start(start_response) => {
                start_response.inform(103, &fields.fields().iter().collect::<Vec<_>>())
            }
            InlineResponse::Writing(_) | InlineResponse::Lost => Ok(()),
        }
    }

    fn client_has_finished(&self) -> bool {
        self.has_finished
    }
}

/// The rest of a response. Each block is sent before the next is asked for.
struct Iteration {
    reply: Reply,
    /// The call, whose callables stay valid until the response has ended.
    call: CallSet,
    current: Current,
}

/// The piece that is lent to the connection.
enum Current {
    Nothing,
    Block(Py<PyBytes>),
    /// A piece with something before it that was written while the block was made.
    Joined(Vec<u8>),
}

impl Iteration {
    fn draw(&mut self, py: Python<'_>) -> Result<bool, GatewayError> {
        let mut written = Written(Vec::new());
        let drawn = lend(self.call.owner(), &mut written, || self.reply.next(py));
        let Written(mut written) = written;
        self.current = match drawn {
            Ok(Some(block)) if written.is_empty() => Current::Block(block),
            Ok(Some(block)) => {
                written.extend_from_slice(block.as_bytes(py));
                Current::Joined(written)
            }
            Ok(None) => {
                self.reply.close(py);
                if written.is_empty() {
                    return Ok(false);
                }
                Current::Joined(written)
            }
            Err(error) => {
                let failure = failure(py, &error);
                self.reply.close(py);
                return Err(failure);
            }
        };
        Ok(true)
    }
}

impl BodyStream for Iteration {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        Python::attach(|py| {
            if !self.draw(py)? {
                return Ok(Piece::End);
            }
            Ok(Piece::Data(match &self.current {
                Current::Nothing => &[],
                Current::Block(block) => block.as_bytes(py),
                Current::Joined(bytes) => bytes,
            }))
        })
    }

    fn is_prompt(&self) -> bool {
        true
    }
}

/// Collects what `write()` is given while a block is made, which PEP 3333 does not provide for.
struct Written(Vec<u8>);

impl Outlet for Written {
    fn begin(&mut self, _head: &Head) -> Result<(), GatewayError> {
        Ok(())
    }

    fn write(&mut self, _py: Python<'_>, content: &[u8]) -> PyResult<()> {
        self.0.extend_from_slice(content);
        Ok(())
    }

    fn hint(&mut self, _fields: &Head) -> Result<(), GatewayError> {
        Ok(())
    }

    fn client_has_finished(&self) -> bool {
        false
    }
}
