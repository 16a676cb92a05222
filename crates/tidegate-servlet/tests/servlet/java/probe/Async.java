package probe;

import jakarta.servlet.AsyncContext;
import jakarta.servlet.AsyncEvent;
import jakarta.servlet.AsyncListener;
import jakarta.servlet.ReadListener;
import jakarta.servlet.ServletInputStream;
import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.WriteListener;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** Answers later. */
@WebServlet(urlPatterns = "/async/*", asyncSupported = true)
public class Async extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        if (request.getAttribute("dispatched") != null) {
            response.getWriter().print("dispatched " + request.getDispatcherType() + " "
                    + request.getAttribute(AsyncContext.ASYNC_REQUEST_URI));
            return;
        }
        AsyncContext context = request.startAsync();
        String id = request.getParameter("id");
        context.addListener(new Listener(id, request.getPathInfo()));
        switch (request.getPathInfo()) {
            case "/complete" -> later(5, () -> {
                response.getWriter().print("completed");
                context.complete();
            });
            case "/complete-now" -> {
                response.getWriter().print("at once");
                context.complete();
            }
            case "/run" -> context.start(() -> {
                try {
                    response.getWriter().print("run");
                } catch (IOException error) {
                    throw new IllegalStateException(error);
                }
                context.complete();
            });
            case "/run-where" -> context.start(() -> {
                try {
                    response.getWriter().print(Thread.currentThread().getName());
                } catch (IOException error) {
                    throw new IllegalStateException(error);
                }
                context.complete();
            });
            case "/dispatch" -> {
                request.setAttribute("dispatched", true);
                later(5, () -> context.dispatch());
            }
            case "/dispatch-now" -> {
                request.setAttribute("dispatched", true);
                context.dispatch();
            }
            case "/dispatch-to" -> later(5, () -> context.dispatch("/show/later?a=b"));
            case "/dispatch-twice" -> {
                context.dispatch("/async/complete");
                try {
                    context.dispatch("/async/complete");
                } catch (IllegalStateException error) {
                    response.setHeader("X-Second", name(error));
                }
            }
            case "/timeout", "/timeout-answer", "/timeout-dispatch" -> context.setTimeout(50);
            case "/throw" -> throw new IllegalStateException("a secret");
            case "/pieces" -> {
                response.getOutputStream().print("one ");
                response.flushBuffer();
                later(30, () -> {
                    response.getOutputStream().print("two ");
                    response.flushBuffer();
                    later(30, () -> {
                        response.getOutputStream().print("three");
                        context.complete();
                    });
                });
            }
            case "/again" -> {
                try {
                    request.startAsync();
                } catch (IllegalStateException error) {
                    response.getWriter().print(name(error));
                }
                context.complete();
            }
            case "/send-error" -> later(5, () -> {
                response.sendError(409);
                context.complete();
            });
            case "/committed-timeout" -> {
                context.setTimeout(50);
                response.getOutputStream().print("begin");
                response.flushBuffer();
            }
            case "/until-gone" -> {
                context.setTimeout(20_000);
                write(response, context, id);
            }
            case "/sum" -> {
                AtomicBoolean isRead = new AtomicBoolean();
                sayWhenItWaits(Thread.currentThread(), isRead, id);
                response.getWriter().print(sum(request.getInputStream().readAllBytes()));
                isRead.set(true);
                context.complete();
            }
            case "/pour" -> later(5, () -> {
                Respond.write(response.getOutputStream(), number(request, "bytes"));
                context.complete();
            });
            case "/never" -> context.setTimeout(0);
            case "/late" -> {
                context.setTimeout(0);
                Life.awaitOpening();
            }
            case "/read" -> read(request, response, context, id);
            case "/write" -> new Writer(response.getOutputStream(), context, number(request, "bytes"), id);
            default -> {
                response.sendError(404);
                context.complete();
            }
        }
    }

    /** Writes now and then until that fails. */
    private static void write(HttpServletResponse response, AsyncContext context, String id) {
        later(10, () -> {
            try {
                response.getOutputStream().print("still here\n");
                response.flushBuffer();
            } catch (IOException error) {
                Heard.note(id, "gone");
                context.complete();
                return;
            }
            write(response, context, id);
        });
    }

    private static void read(HttpServletRequest request, HttpServletResponse response, AsyncContext context, String id)
            throws IOException {
        ServletInputStream in = request.getInputStream();
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        in.setReadListener(new ReadListener() {
            @Override
            public void onDataAvailable() throws IOException {
                byte[] piece = new byte[4096];
                while (in.isReady() && !in.isFinished()) {
                    int read = in.read(piece);
                    if (read < 0) {
                        return;
                    }
                    all.write(piece, 0, read);
                }
                Heard.note(id, "so-far:" + all.size());
            }

            @Override
            public void onAllDataRead() throws IOException {
                response.getWriter().print("all " + sum(all.toByteArray()) + " " + in.isFinished());
                Heard.note(id, "all");
                context.complete();
            }

            @Override
            public void onError(Throwable error) {
                Heard.note(id, "read-error");
                context.complete();
            }
        });
    }

    /** Writes many bytes, and never more than the connection takes. */
    private static final class Writer implements WriteListener {
        private final ServletOutputStream out;
        private final AsyncContext context;
        private final String id;
        private final byte[] piece = "x".repeat(8192).getBytes();
        private int left;

        Writer(ServletOutputStream out, AsyncContext context, int bytes, String id) {
            this.out = out;
            this.context = context;
            this.left = bytes;
            this.id = id;
            context.setTimeout(60_000);
            out.setWriteListener(this);
        }

        @Override
        public void onWritePossible() throws IOException {
            while (out.isReady()) {
                if (left == 0) {
                    Heard.note(id, "written");
                    context.complete();
                    return;
                }
                int count = Math.min(left, piece.length);
                out.write(piece, 0, count);
                left -= count;
            }
            Heard.note(id, "full");
        }

        @Override
        public void onError(Throwable error) {
            Heard.note(id, "write-error");
            context.complete();
        }
    }

    private static void sayWhenItWaits(Thread thread, AtomicBoolean isRead, String id) {
        switch (thread.getState()) {
            case WAITING, TIMED_WAITING -> System.out.println("waiting " + id);
            default -> {
                if (!isRead.get()) {
                    later(1, () -> sayWhenItWaits(thread, isRead, id));
                }
            }
        }
    }

    private interface Step {
        void run() throws Exception;
    }

    private static void later(int millis, Step step) {
        CompletableFuture.delayedExecutor(millis, TimeUnit.MILLISECONDS).execute(() -> {
            try {
                step.run();
            } catch (Exception error) {
                error.printStackTrace();
            }
        });
    }

    private record Listener(String id, String path) implements AsyncListener {
        @Override
        public void onComplete(AsyncEvent event) {
            note("complete");
        }

        @Override
        public void onTimeout(AsyncEvent event) throws IOException {
            note("timeout");
            switch (path) {
                case "/timeout-answer", "/committed-timeout" -> {
                    event.getAsyncContext().getResponse().getWriter().print("too late");
                    event.getAsyncContext().complete();
                }
                case "/timeout-dispatch" -> {
                    event.getSuppliedRequest();
                    event.getAsyncContext().getRequest().setAttribute("dispatched", true);
                    event.getAsyncContext().dispatch();
                }
                default -> {}
            }
        }

        @Override
        public void onError(AsyncEvent event) {
            note("error:" + name(event.getThrowable()));
        }

        @Override
        public void onStartAsync(AsyncEvent event) {
            note("again");
        }

        private void note(String what) {
            Heard.note(id, what);
        }
    }
}
