package probe;

import jakarta.servlet.RequestDispatcher;
import jakarta.servlet.ServletException;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/** Fails in every way, and is the page of some failures. */
@WebServlet("/errors/*")
public class Errors extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        switch (request.getPathInfo()) {
            case "/page" -> response.getWriter().print("page for "
                    + request.getAttribute(RequestDispatcher.ERROR_STATUS_CODE) + " "
                    + request.getAttribute(RequestDispatcher.ERROR_MESSAGE) + " "
                    + name((Throwable) request.getAttribute(RequestDispatcher.ERROR_EXCEPTION)) + " "
                    + request.getAttribute(RequestDispatcher.ERROR_REQUEST_URI) + " "
                    + request.getDispatcherType());
            case "/send" -> {
                response.setHeader("X-Kept", "1");
                response.getWriter().print("forgotten");
                response.sendError(number(request, "code"), "a reason");
                response.getWriter().print("ignored");
            }
            case "/state" -> throw new IllegalStateException("a secret");
            case "/servlet" -> throw new ServletException("a secret");
            case "/io" -> throw new IOException("a secret");
            case "/error" -> throw new StackOverflowError("a secret");
            case "/twice" -> {
                response.sendError(410);
                response.sendError(411);
            }
            case "/committed" -> {
                response.getWriter().print("begin");
                response.flushBuffer();
                throw new IllegalStateException("a secret");
            }
            case "/committed-length" -> {
                response.setContentLength(10);
                response.getWriter().print("begin");
                response.flushBuffer();
                throw new IllegalStateException("a secret");
            }
            case "/send-committed" -> {
                response.getWriter().print("begin");
                response.flushBuffer();
                response.sendError(500);
            }
            case "/reset" -> {
                response.setStatus(201);
                response.setHeader("X-Gone", "1");
                response.getWriter().print("forgotten");
                response.reset();
                response.setContentType("text/plain");
                response.getWriter().print("kept");
            }
            case "/reset-buffer" -> {
                response.setStatus(201);
                response.setHeader("X-Kept", "1");
                response.getWriter().print("forgotten");
                response.resetBuffer();
                response.getWriter().print("kept");
            }
            default -> response.sendError(404);
        }
    }
}
