package probe;

import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.Cookie;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.OutputStream;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/** Answers in every way that is right. */
@WebServlet("/respond/*")
public class Respond extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        switch (request.getPathInfo()) {
            case "/nothing" -> response.setContentType(null);
            case "/short" -> response.getWriter().print("short");
            case "/length" -> {
                response.setContentLength(4);
                response.getWriter().print("four");
            }
            case "/pieces" -> {
                OutputStream out = response.getOutputStream();
                for (int piece = 0; piece < number(request, "count"); piece++) {
                    out.write(utf8("piece " + piece + "\n"));
                    out.flush();
                }
            }
            case "/many" -> write(response.getOutputStream(), number(request, "bytes"));
            case "/many-length" -> {
                response.setContentLengthLong(number(request, "bytes"));
                write(response.getOutputStream(), number(request, "bytes"));
            }
            case "/flush" -> response.flushBuffer();
            case "/close" -> {
                response.setHeader("Connection", "close");
                response.getWriter().print("bye");
            }
            case "/cookies" -> {
                response.addCookie(new Cookie("plain", "value"));
                Cookie cookie = new Cookie("full", "a b");
                cookie.setValue("ab");
                cookie.setPath("/probe");
                cookie.setMaxAge(0);
                cookie.setHttpOnly(true);
                cookie.setSecure(true);
                cookie.setDomain("example.org");
                cookie.setAttribute("SameSite", "Lax");
                response.addCookie(cookie);
            }
            case "/redirect" -> response.sendRedirect("there?a=b#c");
            case "/redirect-root" -> response.sendRedirect("/there");
            case "/redirect-out" -> response.sendRedirect("https://example.org/x");
            case "/latin" -> {
                response.setCharacterEncoding("ISO-8859-1");
                response.getWriter().print("Gr\u00fc\u00dfe");
            }
            case "/locale" -> {
                response.setCharacterEncoding(null);
                response.setLocale(Locale.JAPANESE);
                response.getWriter().print("ok");
            }
            case "/fields" -> {
                response.addHeader("X-A", "1");
                response.addHeader("X-A", "2");
                response.setIntHeader("X-B", 3);
                response.setDateHeader("X-C", 0);
                response.setHeader("X-D", "");
                response.setHeader("Server", "of the servlet");
                response.setDateHeader("Date", 784111777000L);
            }
            case "/trailers" -> {
                Map<String, String> fields = new TreeMap<>();
                response.setTrailerFields(() -> fields);
                response.getWriter().print("content");
                response.flushBuffer();
                fields.put("x-sum", "7");
                fields.put("x-more", "a b");
            }
            case "/trailers-wrong" -> {
                Map<String, String> fields = new TreeMap<>(Map.of("content-length", "3", "x-good", "1"));
                fields.put("x-bad", "a\r\nX-Injected: 1");
                response.setTrailerFields(() -> fields);
                response.getWriter().print("content");
            }
            case "/hints" -> {
                response.setHeader("Link", "</style.css>; rel=preload");
                // Tomcat's own name for what Servlet 6.1 knows as sendError(103).
                Object inner = response;
                inner.getClass().getMethod("sendEarlyHints").invoke(inner);
                response.getWriter().print("final");
            }
            case "/sendfile" -> {
                String file = getServletContext().getRealPath("/static.bin");
                boolean isSupported = Boolean.TRUE.equals(request.getAttribute("org.apache.tomcat.sendfile.support"));
                response.setHeader("X-Sendfile", String.valueOf(isSupported));
                if (isSupported) {
                    request.setAttribute("org.apache.tomcat.sendfile.filename", file);
                    request.setAttribute("org.apache.tomcat.sendfile.start", 1000L);
                    request.setAttribute("org.apache.tomcat.sendfile.end", 51000L);
                }
                response.setContentLength(50000);
            }
            case "/buffer" -> {
                response.setBufferSize(100_000);
                response.getOutputStream().write(new byte[90_000]);
                response.setHeader("X-Committed", String.valueOf(response.isCommitted()));
            }
            default -> response.sendError(404);
        }
    }

    static void write(OutputStream out, int bytes) throws Exception {
        byte[] piece = new byte[8192];
        Arrays.fill(piece, (byte) 'x');
        for (int left = bytes; left > 0; left -= Math.min(left, piece.length)) {
            out.write(piece, 0, Math.min(left, piece.length));
        }
    }
}
