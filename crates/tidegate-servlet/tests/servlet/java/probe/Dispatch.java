package probe;

import jakarta.servlet.RequestDispatcher;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletMapping;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;

/** Has others answer. */
@WebServlet(name = "dispatch", urlPatterns = "/dispatch/*")
public class Dispatch extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        switch (request.getPathInfo()) {
            case "/forward" -> {
                response.getWriter().print("forgotten");
                request.getRequestDispatcher("/dispatch/target/a?b=c").forward(request, response);
            }
            case "/include" -> {
                response.getWriter().print("before ");
                request.getRequestDispatcher("/included/a?b=c").include(request, response);
                response.getWriter().print(" after");
            }
            case "/named" -> getServletContext().getNamedDispatcher("show").forward(request, response);
            case "/late" -> {
                response.getWriter().print("gone out");
                response.flushBuffer();
                request.getRequestDispatcher("/dispatch/target").forward(request, response);
            }
            case "/static" -> request.getRequestDispatcher("/static.txt").forward(request, response);
            case "/jsp" -> request.getRequestDispatcher("/page.jsp").include(request, response);
            case "/target/a" -> response.getWriter().print(request.getRequestURI() + " "
                    + request.getAttribute(RequestDispatcher.FORWARD_REQUEST_URI) + " "
                    + ((HttpServletMapping) request.getAttribute(RequestDispatcher.FORWARD_MAPPING)).getMappingMatch()
                    + " " + request.getParameter("b") + " " + request.getDispatcherType());
            default -> response.sendError(404);
        }
    }
}
