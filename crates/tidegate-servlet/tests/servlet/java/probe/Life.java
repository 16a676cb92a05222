package probe;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Takes its time, or the process with it. */
@WebServlet("/life/*")
public class Life extends Page {
    private static final CountDownLatch GATE = new CountDownLatch(1);
    private static final int LOADED = (int) (System.nanoTime() & 0xffffff);

    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        String id = request.getParameter("id");
        switch (request.getPathInfo()) {
            case "/loaded" -> response.getWriter().print(LOADED);
            case "/sleep" -> {
                System.out.println("asleep " + id);
                Thread.sleep(number(request, "millis"));
                response.getWriter().print("slept");
            }
            case "/wait" -> {
                System.out.println("waiting " + id);
                awaitOpening();
                response.getWriter().print("let go");
            }
            case "/open" -> {
                GATE.countDown();
                response.getWriter().print("open");
            }
            case "/held" -> {
                // Longer than this class may live, which others of the name come after.
                System.out.println("held " + id);
                while (System.getProperty("held") == null) {
                    Thread.sleep(5);
                }
            }
            case "/release" -> {
                System.setProperty("held", "no more");
                response.getWriter().print("released");
            }
            case "/stuck" -> {
                System.out.println("stuck " + id);
                stuck();
            }
            case "/stream" -> {
                System.out.println("streaming " + id);
                try {
                    Respond.write(response.getOutputStream(), number(request, "bytes"));
                    Heard.note(id, "whole");
                } catch (IOException error) {
                    Heard.note(id, "broken");
                    throw error;
                }
            }
            case "/drip" -> {
                response.getOutputStream().print("begin");
                response.flushBuffer();
                System.out.println("dripping " + id);
                Thread.sleep(number(request, "millis"));
                response.getOutputStream().print(" end");
            }
            case "/read" -> {
                System.out.println("reading " + id);
                Heard.note(id, "reading");
                try {
                    response.getWriter().print(sum(request.getInputStream().readAllBytes()));
                } catch (IOException error) {
                    Heard.note(id, "broken");
                    throw error;
                }
            }
            case "/die" -> throw new InternalError("a secret");
            case "/interrupt" -> {
                Thread.currentThread().interrupt();
                response.getWriter().print("interrupted");
            }
            case "/interrupted" -> response.getWriter().print(Thread.currentThread().isInterrupted());
            case "/exit" -> System.exit(number(request, "code"));
            case "/halt" -> Runtime.getRuntime().halt(number(request, "code"));
            case "/threads" -> {
                Thread.sleep(number(request, "millis"));
                response.getWriter().print(Thread.currentThread().getName());
            }
            default -> response.sendError(404);
        }
    }

    static void awaitOpening() throws InterruptedException {
        GATE.await(60, TimeUnit.SECONDS);
    }

    private static void stuck() throws InterruptedException {
        Thread.sleep(600_000);
    }
}
