package probe;

import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.DispatcherType;
import jakarta.servlet.annotation.WebFilter;
import jakarta.servlet.http.HttpFilter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpServletResponseWrapper;
import java.io.CharArrayWriter;
import java.io.IOException;
import java.io.PrintWriter;

/** Puts something around what is asked for with {@code around}. */
@WebFilter(urlPatterns = "/*", dispatcherTypes = {DispatcherType.REQUEST, DispatcherType.ERROR, DispatcherType.FORWARD},
        asyncSupported = true)
public class Around extends HttpFilter {
    @Override
    protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        String query = request.getQueryString();
        if (query == null || !query.contains("around")) {
            chain.doFilter(request, response);
            return;
        }
        response.addHeader("X-Around", String.valueOf(request.getDispatcherType()));
        if (query.contains("around=refuse")) {
            response.sendError(403);
            return;
        }
        CharArrayWriter inner = new CharArrayWriter();
        chain.doFilter(request, new HttpServletResponseWrapper(response) {
            @Override
            public PrintWriter getWriter() {
                return new PrintWriter(inner);
            }
        });
        if (!response.isCommitted()) {
            response.getWriter().print("<" + inner + ">");
        }
    }
}
