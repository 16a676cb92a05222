package probe;

import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.Cookie;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;

/** Sets what a servlet should not set. */
@WebServlet("/misuse/*")
public class Misuse extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        String name = request.getParameter("name");
        String value = request.getParameter("value");
        switch (request.getPathInfo()) {
            case "/set" -> response.setHeader(name, value);
            case "/add" -> {
                response.setHeader(name, "first");
                response.addHeader(name, value);
            }
            case "/type" -> response.setContentType(value);
            case "/cookie" -> response.addCookie(new Cookie(name, value));
            case "/redirect" -> response.sendRedirect(value);
            case "/status" -> response.setStatus(number(request, "value"));
            case "/error" -> response.sendError(number(request, "value"), "x\r\nX-Injected: 1");
            case "/length" -> {
                response.setContentLengthLong(Long.parseLong(value));
                response.getOutputStream().write(utf8(request.getParameter("content")));
                return;
            }
            case "/length-flushed" -> {
                response.setContentLengthLong(Long.parseLong(value));
                response.flushBuffer();
                response.getOutputStream().write(utf8(request.getParameter("content")));
                return;
            }
            case "/content" -> {
                response.setStatus(number(request, "value"));
                response.getOutputStream().write(utf8("content"));
                response.flushBuffer();
                return;
            }
            case "/late" -> {
                response.getOutputStream().write(utf8("out "));
                response.flushBuffer();
                response.setStatus(500);
                response.setHeader("X-Late", "1");
                response.setContentLength(3);
            }
            case "/both" -> {
                response.getWriter().print("a");
                response.getOutputStream().write('b');
            }
            case "/closed" -> {
                ServletOutputStream out = response.getOutputStream();
                out.write(utf8("a"));
                out.close();
                out.write(utf8("b"));
                return;
            }
            default -> response.sendError(404);
        }
        if (!response.isCommitted() || request.getPathInfo().equals("/late")) {
            response.getOutputStream().print("ok");
        }
    }
}
