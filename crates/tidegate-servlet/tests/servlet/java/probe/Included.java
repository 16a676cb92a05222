package probe;

import jakarta.servlet.RequestDispatcher;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;

/** Is included, and tries to change the head, which an include may not. */
@WebServlet("/included/*")
public class Included extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        response.setStatus(500);
        response.setHeader("X-Included", "1");
        response.getWriter().print(request.getRequestURI() + " "
                + request.getAttribute(RequestDispatcher.INCLUDE_REQUEST_URI) + " " + request.getParameter("b") + " "
                + request.getDispatcherType());
    }
}
