package probe;

import jakarta.servlet.annotation.MultipartConfig;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.Part;

/** Takes a form with files. */
@WebServlet("/upload")
@MultipartConfig(fileSizeThreshold = 1000, maxFileSize = 8_000_000, maxRequestSize = 9_000_000)
public class Upload extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        StringBuilder answer = new StringBuilder();
        for (Part part : request.getParts()) {
            answer.append(part.getName()).append(' ').append(part.getSubmittedFileName()).append(' ')
                    .append(part.getContentType()).append(' ').append(part.getHeader("X-Part")).append(' ')
                    .append(sum(part.getInputStream().readAllBytes())).append('\n');
        }
        answer.append(request.getParameter("note"));
        response.getWriter().print(answer);
    }
}
