package probe;

import jakarta.servlet.UnavailableException;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;

/** Is out of service, for good. */
@WebServlet("/unavailable")
public class Unavailable extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        throw new UnavailableException("gone");
    }
}
